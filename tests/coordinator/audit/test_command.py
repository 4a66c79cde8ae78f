"""`manage.py audit`: export with filters, the head, and erasing a name without breaking the chain."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from axes.models import AccessAttempt
from cryptography.exceptions import InvalidSignature
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.urls import reverse

from fedcore.coordinator.governance import audit, decisions, notices
from fedcore.coordinator.governance.audit import Action, erasing
from fedcore.coordinator.governance.models import (
    ApiToken,
    AuditAddress,
    AuditEntry,
    Dataset,
    Notice,
    Person,
    PersonKey,
    StoredSession,
)
from fedcore.coordinator.identity import coordinator_key
from fedcore.wire.keys import SigningKey
from tests.coordinator.conftest import PASSWORD, drop_triggers


def run(*arguments):
    out = io.StringIO()
    call_command("audit", *arguments, stdout=out)
    return out.getvalue()


def exported(*arguments):
    return [json.loads(line) for line in run("export", *arguments).splitlines()]


@pytest.fixture
def approval(cast, asked):
    decisions.approve(asked, cast.olga)
    return AuditEntry.objects.get(action="approve_request")


def test_the_head_is_shown_as_it_is(approval):
    head = audit.head()
    assert run("head") == f"{head.serial} {head.digest}\n"
    assert len(head.digest) == 64


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("--action", "approve_request"), True),
        (("--action", "refuse_request"), False),
        (("--person", "olga"), True),
        (("--person", "sam"), False),
        (("--organisation", "north-hospital"), True),
        (("--organisation", "south-bank"), False),
        (("--dataset", "north/access-2026"), True),
        (("--run", "ab" * 32), False),
        (("--since", "2026-01-01"), True),
        (("--since", "2999-01-01T10:00:00+02:00"), False),
        (("--until", "2020-01-01"), False),
    ],
)
def test_an_export_is_filtered(cast, approval, arguments, found):
    assert (approval.serial in [row["serial"] for row in exported(*arguments)]) == found


def test_an_export_of_one_dataset_has_nothing_of_another(cast, approval):
    other = Dataset.objects.create(
        host=cast.south, name="d", title="D", reader="r", rows=1, current_version="c" * 64,
        announced_at=cast.dataset.announced_at,
    )  # fmt: skip
    audit.record(Action.OFFER_DATASET, other, by=cast.south)
    assert [row["action"] for row in exported("--dataset", "south/d")] == ["offer_dataset"]


def test_what_is_not_there_is_said_to_be_missing(cast):
    with pytest.raises(CommandError, match="There is no person zoe"):
        run("export", "--person", "zoe")
    with pytest.raises(CommandError, match="There is no dataset north/other"):
        run("export", "--dataset", "north/other")


def test_an_export_is_recorded_and_not_part_of_itself(approval):
    before = audit.head().serial
    assert exported()[-1]["serial"] == before
    entry = AuditEntry.objects.latest("serial")
    assert (entry.action, entry.facts, entry.who) == (
        "export_audit",
        {"entries": before, "format": "jsonl"},
        "system",
    )


def test_finding_the_audit_whole_is_recorded_with_what_was_looked_at(approval):
    head = audit.head()
    assert f"The last is {head.serial}, {head.digest}." in run("verify", "--head", head.digest)
    entry = AuditEntry.objects.latest("serial")
    assert (entry.action, entry.outcome, entry.who) == ("verify_audit", "done", "system")
    assert entry.facts == {"first": 1, "last": head.serial, "head": True}


def test_a_copy_that_is_only_read_is_verified_without_an_entry(approval):
    before = audit.head().serial
    assert "entries are whole" in run("verify", "--unrecorded")
    assert audit.head().serial == before


@pytest.mark.django_db(transaction=True)
def test_an_audit_that_is_not_whole_is_not_recorded_as_whole(approval, sql):
    drop_triggers()
    sql("UPDATE TABLE SET code = 'other' WHERE serial = %s", approval.serial)
    before = audit.head().serial
    with pytest.raises(CommandError):
        run("verify")
    assert audit.head().serial == before


def test_an_export_is_verified_by_the_lines_in_the_guide_for_auditors(approval, tmp_path):
    guide = (Path(__file__).resolve().parents[3] / "docs" / "auditors.md").read_text()
    found = {}
    exec(re.search(r"```python\n(.*?)```", guide, re.DOTALL)[1], found)
    path, key, head = tmp_path / "audit.jsonl", coordinator_key().public, audit.head()
    whole = run("export")
    path.write_text(whole)
    assert found["last_digest"](path, key) == head.digest
    lines = whole.splitlines(keepends=True)
    altered = lines[-1].replace('"outcome": "done"', '"outcome": "refused"')
    for wrong in ([*lines[:-1], altered], [*lines[:-2], lines[-1]], [lines[-1], *lines[:-1]]):
        path.write_text("".join(wrong))
        with pytest.raises(ValueError, match="does not fit"):
            found["last_digest"](path, key)
    path.write_text(whole)
    with pytest.raises(InvalidSignature):
        found["last_digest"](path, SigningKey.generate().public)


def test_csv_has_a_heading_and_a_line_for_each_entry_and_no_formula(cast, approval):
    Person.objects.filter(pk=cast.olga.pk).update(username="=olga")
    rows = list(csv.DictReader(io.StringIO(run("export", "--format", "csv", "--names"))))
    row = next(row for row in rows if row["action"] == "approve_request")
    assert row["digest"] == approval.digest
    assert row["person_name"] == "'=olga"


def test_a_name_is_erased_and_the_chain_stays_whole(cast, client, browser, verified):
    cast.sam.first_name, cast.sam.last_name, cast.sam.email = "Samuel", "Scientist", "sam@university.example"
    cast.sam.save()
    client.post("/admin/login/", {"username": "sam", "password": "wrong"})
    client.post("/admin/login/", {"username": "sam", "password": PASSWORD})
    ApiToken.objects.create(user=cast.sam)
    change = reverse("admin:governance_person_change", args=(cast.sam.pk,))
    form = {
        "username": "sam",
        "organisation": cast.sam.organisation_id,
        "is_active": "on",
        "roles": "auditor",
    }
    form |= {"keys-TOTAL_FORMS": "0", "keys-INITIAL_FORMS": "0"}
    browser(cast.ada).post(change, form | {"first_name": "Samuel", "last_name": "Sciences"})
    assert LogEntry.objects.exists()
    kept = audit.head().digest
    before = AuditEntry.objects.filter(person=cast.sam).count()

    said = run("anonymise", "sam")

    assert f"erased-{cast.sam.pk}" in said
    sam = Person.objects.get(pk=cast.sam.pk)
    assert (sam.username, sam.get_full_name(), sam.email) == (f"erased-{sam.pk}", "", "")
    assert (sam.is_active, sam.has_usable_password(), set(sam.roles)) == (False, False, set())
    assert not PersonKey.objects.filter(person=sam, revoked_at=None).exists()
    assert not ApiToken.objects.filter(user=sam).exists()
    assert not StoredSession.objects.filter(person=sam).exists()
    assert not AccessAttempt.objects.filter(username="sam").exists()
    assert not AuditAddress.objects.filter(person=sam).exists()
    assert {(entry.object_repr, entry.change_message) for entry in LogEntry.objects.all()} == {
        (f"erased-{sam.pk}", "")
    }
    assert AuditEntry.objects.filter(person=sam).count() == before
    assert verified(kept).serial == audit.head().serial
    assert AuditEntry.objects.filter(action="erase_person", thing_id=str(sam.pk)).count() == 1
    assert client.get("/admin/").status_code == 302, "The session is over."


def test_erasing_a_short_name_changes_no_other_word(cast):
    person = Person.objects.create_user("as", organisation=cast.eve.organisation)
    texts = {
        "as asks for access to as-is/as.": "{shown} asks for access to as-is/as.",
        "as.is asks as well; so did was@home.": "as.is asks {shown} well; so did was@home.",
        "Ask as.": "Ask {shown}.",
        "Sam asks for access to north/access-2026.": "Sam asks for access to north/access-2026.",
    }
    for text in texts:
        notices.tell([cast.olga], notices.About.REQUEST, "ab" * 32, text)
    shown = erasing.erase(person)
    found = list(Notice.objects.filter(person=cast.olga).order_by("pk").values_list("text", flat=True))
    assert found == [text.format(shown=shown) for text in texts.values()]


def test_a_person_is_erased_under_both_names(cast):
    cast.sam.first_name, cast.sam.last_name = "Samuel", "Scientist"
    cast.sam.save()
    for name in ("sam", "Samuel Scientist"):
        notices.tell([cast.olga], notices.About.REQUEST, "ab" * 32, f"{name} asks.")
    shown = erasing.erase(cast.sam)
    assert {notice.text for notice in Notice.objects.all()} == {f"{shown} asks."}


def test_an_erased_person_is_shown_by_number(cast, browser, approval):
    assert Notice.objects.filter(person=cast.sam, text__contains="olga").exists()
    run("anonymise", "olga")
    assert not Notice.objects.filter(text__contains="olga").exists()
    assert Notice.objects.filter(person=cast.sam, text__contains=f"erased-{cast.olga.pk}").exists()
    address = reverse("admin:governance_auditentry_change", args=(approval.pk,))
    text = browser(cast.ada).get(address).content.decode()
    assert f"erased-{cast.olga.pk}" in text
    assert "olga" not in text


def test_a_person_who_was_deleted_is_still_an_id_in_the_chain(cast, browser, verified):
    audit.record(Action.LOG_IN, cast.nobody, by=cast.nobody)
    entry, id = AuditEntry.objects.latest("serial"), cast.nobody.pk
    cast.nobody.delete()
    assert verified().serial == audit.head().serial
    address = reverse("admin:governance_auditentry_change", args=(entry.pk,))
    assert f"person {id}" in browser(cast.ada).get(address).content.decode()
