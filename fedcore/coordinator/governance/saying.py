"""Saying what was decided about a request: in its thread, in the audit, and to whom it matters."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from fedcore.coordinator.governance import audit, notices
from fedcore.coordinator.governance.audit import Action
from fedcore.coordinator.governance.limits import in_audit
from fedcore.coordinator.governance.models import AccessRequest, Person, Said, ThreadEntry
from fedcore.coordinator.governance.notices import About

AUDITED: Final[Mapping[Said, Action]] = {
    Said.PROPOSED: Action.PROPOSE_GRANT,
    Said.APPROVED: Action.APPROVE_REQUEST,
    Said.REFUSED: Action.REFUSE_REQUEST,
    Said.QUESTION: Action.ASK_BACK,
    Said.ANSWER: Action.ANSWER_BACK,
    Said.TIGHTENED: Action.TIGHTEN_GRANT,
    Said.REVOKED: Action.REVOKE_GRANT,
    Said.WITHDRAWN: Action.WITHDRAW_REQUEST,
}
"""What the audit says of each."""


def say(
    request: AccessRequest,
    person: Person,
    said: Said,
    text: str,
    now: datetime,
    limits: Mapping[str, Any] | None = None,
) -> None:
    """Write down what was decided: for both sides to read, and in the audit."""
    ThreadEntry.objects.create(request=request, person=person, said=said, text=text.strip(), at=now)
    audit.record(AUDITED[said], request, by=person, **({} if limits is None else in_audit(limits)))


def tell_scientist(request: AccessRequest, about: About, text: str, actor: Person) -> None:
    """Give whoever asked a notice; `text` has places for `person` and `dataset`."""
    said = text % {"person": actor, "dataset": request.dataset}
    notices.tell([request.requested_by], about, request.pk, said)


def tell_owners(request: AccessRequest, about: About, text: str, actor: Person) -> None:
    """Give the other data owners of the organisation a notice."""
    said = text % {"person": actor, "dataset": request.dataset}
    notices.tell(notices.data_owners_of(request.dataset.organisation, actor), about, request.pk, said)
