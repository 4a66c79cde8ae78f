"""The table, second part: every page of the admin. Most stand in `of_model`, which every model has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from django.contrib.contenttypes.models import ContentType

from fedcore.coordinator.governance.models import AccessRequest
from tests.coordinator.permissions import sent
from tests.coordinator.permissions.matrix import ADMIN, OPEN_PAGE, Row, Rule, Send
from tests.coordinator.permissions.table_of_api import (
    DECISIONS,
    TRY_AGAIN,
    does,
    reads,
)
from tests.coordinator.permissions.things import SEEN
from tests.coordinator.permissions.who import (
    EDITS_ALL,
    EVERYBODY,
    NONE,
    OVERSEES,
    ROOT,
    SEES_ALL,
    WITH_ROLE,
    Who,
    who,
)
from tests.coordinator.permissions.world import Thing

Named = Mapping[str, Who]
ADMINISTRATORS: Final = EDITS_ALL | who("hana", "bea", "uma")
HANA, BEA, UMA = (EDITS_ALL | who(name) for name in ("hana", "bea", "uma"))


def of_model(
    model: str,
    kind: str,
    *,
    lists_to: Who = WITH_ROLE,
    seen: Named | None = None,
    adds: Who = NONE,
    changes: Named | None = None,
    deletes: Named | None = None,
    free: Who = who("spare"),
    form: Send = sent.nothing,
    mark: Callable[[Thing], str] | None = None,
    looks: Send | None = None,
) -> list[Row]:
    """The pages of one model: the list, and for each row its page, its history, and what changes it.

    `seen` is who sees which row. Rows that are not `free` can be deleted by nobody: others depend on them.
    """
    seen = SEEN[kind] if seen is None else seen
    changes, deletes = changes or {}, deletes or {}
    bulk = deletes.get("spare", NONE)
    removed = {name: may for name, may in deletes.items() if name in free}
    page = f"admin/{model}/<path:object_id>"
    return [
        Row(
            f"admin/{model}/",
            ADMIN,
            {
                "GET": Rule({"": lists_to}, send=looks, lists=(kind, seen, mark or partial(link, model))),
                "POST": does(sent.delete_from_list(kind), bulk, idle=lists_to),
            },
        ),
        Row(f"admin/{model}/add/", ADMIN, {"GET": reads(adds), "POST": does(form, adds)}),
        Row(
            f"{page}/change/",
            ADMIN,
            {"GET": Rule(seen), "POST": does(form, changes, told=seen)},
            kind,
        ),
        Row(
            f"{page}/delete/",
            ADMIN,
            {
                "GET": Rule(deletes, told=seen),
                "POST": does(sent.yes, removed, told=seen, idle=deletes),
            },
            kind,
        ),
        Row(f"{page}/history/", ADMIN, {"GET": Rule(seen)}, kind),
        Row(f"{page}/", ADMIN, {"GET": reads(WITH_ROLE), "POST": reads(WITH_ROLE)}),
    ]


def link(model: str, thing: Thing) -> str:
    """How a list names a row."""
    return f'href="/admin/{model}/{thing.key}/change/'


def dialog(address: str, kind: str, may: Named, send: Send = sent.dialog) -> Row:
    """A dialog of a page: opening it changes nothing, confirming it does. Whoever may not finds a refusal, always."""
    return Row(
        f"admin/{address}",
        ADMIN,
        {"GET": Rule(may, told=SEEN[kind]), "POST": does(send, may, told=SEEN[kind])},
        kind,
    )


def quiet(row: Row) -> Row:
    """The same dialog, where confirming it changes only tables that the matrix does not watch."""
    confirming = row.methods["POST"]
    assert confirming is not None
    return replace(row, methods={**row.methods, "POST": replace(confirming, writes=False)})


OVERSEEING: Final = SEES_ALL.union(*OVERSEES.values())

ENDED: Final = {"finished": who("sam"), "eves": who("eve")}
"""Runs that have ended are their scientist's to delete."""

ADMINISTRATED: Final = {
    "sam": UMA,
    "olga": HANA,
    "paul": BEA,
    "ada": EDITS_ALL,
    "spare": HANA,
    "root": ROOT,
}
"""People by whoever may change, disable and log them out: the own administrator, and the operator's."""
LET_IN: Final = {**dict.fromkeys(("sam", "olga", "paul", "ada"), ROOT), "spare": HANA}
"""People whose password may be reset, so that nobody becomes somebody with more roles."""
WITH_OWN: Final = {name: who(name) | may for name, may in ADMINISTRATED.items() if name != "spare"} | {
    "spare": HANA
}
"""The same, and everybody for themselves."""

ADMIN_PAGES: Final = [
    Row("admin/", ADMIN, {"GET": reads(WITH_ROLE), "POST": reads(WITH_ROLE)}),
    Row("admin/search/", ADMIN, {"GET": reads(WITH_ROLE), "POST": reads(WITH_ROLE)}),
    Row("admin/jsi18n/", ADMIN, {"GET": reads(WITH_ROLE)}),
    Row("admin/login/code/", ADMIN, {"GET": reads(NONE), "POST": does(sent.code, NONE)}),
    Row(
        "admin/login/second-factor/",
        ADMIN,
        {"GET": reads(WITH_ROLE), "POST": Rule({"": WITH_ROLE}, send=sent.code)},
    ),
    Row(
        "admin/welcome/<uidb64>/<token>/",
        OPEN_PAGE,
        {"GET": reads(EVERYBODY), "POST": Rule({"": EVERYBODY}, send=sent.nothing)},
        "invitations",
        parameters=lambda world, thing: {"uidb64": world.place_of_spare},
    ),
    Row("admin/first-run/", OPEN_PAGE, {"GET": reads(NONE), "POST": does(sent.first_run, NONE)}),
    Row(
        "admin/login/",
        OPEN_PAGE,
        {"GET": reads(EVERYBODY), "POST": Rule({}, idle={"": EVERYBODY}, send=sent.login_form)},
    ),
    Row("admin/logout/", OPEN_PAGE, {"GET": Rule({}, idle={"": EVERYBODY}), "POST": reads(EVERYBODY)}),
    Row(
        "admin/password_change/", ADMIN, {"GET": reads(WITH_ROLE), "POST": does(sent.new_password, WITH_ROLE)}
    ),
    Row("admin/password_change/done/", ADMIN, {"GET": reads(WITH_ROLE)}),
    Row(
        "admin/autocomplete/",
        ADMIN,
        {
            "GET": Rule(
                {"": WITH_ROLE},
                send=sent.look_up_people,
                lists=(
                    "people",
                    {name: SEEN["people"][name] for name in ("sam", "spare")},
                    lambda thing: f'"id": "{thing.key}"',
                ),
            )
        },
    ),
    Row(
        "admin/r/<path:content_type_id>/<path:object_id>/",
        ADMIN,
        {"GET": reads(NONE), "POST": reads(NONE)},
        "requests",
        parameters=lambda world, thing: {
            "content_type_id": str(ContentType.objects.get_for_model(AccessRequest).pk)
        },
    ),
    Row(
        "admin/<app_label>/",
        ADMIN,
        {
            "GET": Rule(SEEN["applications"], told={"": WITH_ROLE}),
            "POST": Rule(SEEN["applications"], told={"": WITH_ROLE}),
        },
        "applications",
    ),
    Row("admin/<url>", ADMIN, {"GET": reads(NONE), "POST": reads(NONE)}),
]

ADMIN_OF_PEOPLE: Final = [
    *of_model(
        "governance/organisation",
        "organisations",
        adds=EDITS_ALL,
        changes=dict.fromkeys(SEEN["organisations"], EDITS_ALL),
        deletes=dict.fromkeys(SEEN["organisations"], EDITS_ALL),
        form=sent.organisation,
    ),
    dialog(
        "governance/organisation/<path:object_id>/ask_two_approvers/",
        "organisations",
        {"north-hospital": who("hana"), "cloud-house": who("ada")},
    ),
    dialog("governance/organisation/<path:object_id>/ask_one_approver/", "organisations", {}),
    *of_model(
        "governance/person",
        "people",
        adds=ADMINISTRATORS,
        changes=ADMINISTRATED,
        form=sent.person,
    ),
    dialog("governance/person/<path:object_id>/reset_password/", "people", LET_IN),
    dialog("governance/person/<path:object_id>/reset_second_factor/", "people", {"spare": HANA}),
    dialog("governance/person/<path:object_id>/end_logins/", "people", ADMINISTRATED),
    Row("admin/security/", ADMIN, {"GET": reads(WITH_ROLE)}),
    Row("admin/security/factor/", ADMIN, {"GET": reads(NONE), "POST": does(sent.code, NONE)}),
    Row("admin/security/<int:person_id>/", ADMIN, {"GET": Rule(WITH_OWN)}, "people"),
    Row(
        "admin/security/<int:person_id>/end/",
        ADMIN,
        {
            "GET": Rule(WITH_OWN, send=sent.all_others),
            "POST": does(sent.all_others, WITH_OWN),
        },
        "people",
    ),
    *of_model("governance/lockout", "lockouts", lists_to=ADMINISTRATORS | SEES_ALL),
    # What it deletes, failed logins, is among what whoever knocks may leave behind.
    quiet(dialog("governance/lockout/<path:object_id>/lift/", "lockouts", {"sams": UMA})),
    *of_model("governance/personkey", "keys"),
    dialog(
        "governance/personkey/<path:object_id>/revoke/",
        "keys",
        {"sams": UMA | who("sam"), "eves": EDITS_ALL | who("eve"), "olgas": HANA | who("olga")},
    ),
]

ADMIN_OF_ACCESS: Final = [
    *of_model("governance/accessrequest", "requests"),
    *(
        dialog(f"governance/accessrequest/<path:object_id>/{decision}/", "requests", may)
        for decision, (_, may) in DECISIONS.items()
    ),
    # The same people as at the API, where the dry run is over and did not pass: all of the world's are so.
    dialog("governance/accessrequest/<path:object_id>/try_again/", "requests", TRY_AGAIN),
    *of_model("governance/grant", "grants"),
    *of_model("governance/notice", "notices", mark=lambda thing: thing.word),
    Row(
        "admin/governance/notice/mark_all/",
        ADMIN,
        {"GET": reads(WITH_ROLE), "POST": does(sent.dialog, WITH_ROLE)},
    ),
]

ADMIN_OF_CATALOGUE: Final = [
    *of_model(
        "governance/ownerhost",
        "hosts",
        adds=ADMINISTRATORS,
        changes={"north": HANA, "south": BEA, "lab": EDITS_ALL, "closed": HANA, "spare": BEA},
        deletes=dict.fromkeys(SEEN["hosts"], EDITS_ALL),
        free=who("spare", "lab"),
        form=sent.host,
    ),
    *of_model("governance/dataset", "datasets"),
]

ADMIN_OF_AUDIT: Final = [
    *of_model("governance/auditentry", "entries", looks=sent.whole_list),
    Row(
        "admin/governance/auditentry/export/",
        ADMIN,
        {"POST": Rule({"": WITH_ROLE}, send=sent.export, lists=("entries", SEEN["entries"], sent.exported))},
    ),
    Row(
        "admin/governance/auditentry/processing/",
        ADMIN,
        {"POST": Rule({"": OVERSEEING}, send=sent.export)},
    ),
]

ADMIN_OF_WORK: Final = [
    *of_model("runs/run", "runs", deletes=ENDED, free=frozenset(ENDED)),
    dialog("runs/run/<path:object_id>/cancel/", "runs", {"running": who("sam"), "evaluated": who("sam")}),
]
