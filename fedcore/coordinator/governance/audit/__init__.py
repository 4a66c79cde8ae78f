"""The audit: every decision and access, by whom, from where, on what, in a chain that shows whether it was altered.

To record something is one line, in the transaction of what is recorded:

    audit.record(Action.REVOKE_KEY, key, by=person)

`by` may be left out where the request says who acts. `record` raises where it cannot write, and then the action must
not happen either: never catch what it raises. Four more things are needed now and then:

- a new kind of act: a line in `Action`, and in `DETAILS` if its entry says more than who, where and what;
- a new kind of thing: a line in `Thing`, and a function for `subject_of.register` that names what it concerns;
- `audit.atomic()` in place of `transaction.atomic()` where rows are locked after something was recorded;
- `audit.refusals(action, thing, by=person)` around what may be refused with a code, so that the refusal is recorded,
  or `@audit.refusals_of(action)` on a function of the thing and the person.

Rows of people, roles, organisations, hosts and API tokens are recorded by themselves when they are saved or deleted
(`watching`); `QuerySet.update` and `bulk_create` are not noticed, so such code calls `record`.
"""

from fedcore.coordinator.governance.audit.actions import Action
from fedcore.coordinator.governance.audit.origin import Kind
from fedcore.coordinator.governance.audit.recording import atomic, head, record, refusals, refusals_of
from fedcore.coordinator.governance.audit.subjects import Subject, Thing, is_subject, mark, subject_of

__all__ = [
    "Action",
    "Kind",
    "Subject",
    "Thing",
    "atomic",
    "head",
    "is_subject",
    "mark",
    "record",
    "refusals",
    "refusals_of",
    "subject_of",
]
