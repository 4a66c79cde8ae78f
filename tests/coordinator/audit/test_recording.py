"""An entry and what it records are kept together or not at all, in one chain, whoever writes at the same time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from django.db import connection, transaction
from pydantic import ValidationError

from fedcore.coordinator.governance import audit, decisions, submissions
from fedcore.coordinator.governance.audit import Action, Kind, Subject, Thing, recording
from fedcore.coordinator.governance.audit.actions import DETAILS, Detail
from fedcore.coordinator.governance.decisions import DecisionError
from fedcore.coordinator.governance.models import AccessRequest, AuditEntry, AuditHead, Grant, PersonKey
from fedcore.coordinator.runs.models import Run

ROOT = Path(__file__).resolve().parents[3]


class DiskFull(Exception):
    """What keeps an entry from being written."""


@pytest.fixture
def unwritable(monkeypatch):
    """From now on no entry can be written."""

    def fail(*arguments):
        raise DiskFull

    return lambda: monkeypatch.setattr(recording, "_append", fail)


def test_an_approval_whose_entry_cannot_be_written_is_not_given(cast, asked, unwritable):
    unwritable()
    with pytest.raises(DiskFull):
        decisions.approve(asked, cast.olga)
    assert AccessRequest.objects.get().state == "waiting"
    assert not Grant.objects.exists()


def test_a_revocation_whose_entry_cannot_be_written_is_not_made(cast, asked, unwritable):
    decisions.approve(asked, cast.olga)
    unwritable()
    with pytest.raises(DiskFull):
        decisions.revoke(asked, cast.olga, "because")
    assert Grant.objects.get().revoked_at is None


def test_a_key_is_not_revoked_without_an_entry(cast, unwritable):
    unwritable()
    with pytest.raises(DiskFull):
        submissions.revoke_key(PersonKey.objects.get(person=cast.sam))
    assert PersonKey.objects.get(person=cast.sam).revoked_at is None


def test_nobody_logs_in_without_an_entry(cast, client, unwritable):
    unwritable()
    with pytest.raises(DiskFull):
        client.post("/admin/login/", {"username": "sam", "password": "correct horse battery"})
    assert client.get("/admin/").status_code == 302


@pytest.mark.parametrize("block", [transaction.atomic, audit.atomic])
def test_an_action_that_is_rolled_back_leaves_no_entry(cast, block):
    def act():
        with block():
            audit.record(Action.LOG_IN, cast.sam, by=cast.sam)
            raise DiskFull

    before = audit.head().serial
    with pytest.raises(DiskFull):
        act()
    assert audit.head().serial == before
    assert AuditEntry.objects.count() == before


def test_nothing_is_recorded_where_the_head_is_gone(cast):
    AuditHead.objects.all().delete()
    with pytest.raises(recording.HeadMissing, match="Restore the table"):
        audit.record(Action.LOG_IN, cast.sam, by=cast.sam)


def test_a_refused_decision_is_recorded_with_its_code_although_nothing_else_is_kept(cast, asked, since):
    with pytest.raises(DecisionError):
        decisions.approve(asked, cast.paul)
    with pytest.raises(DecisionError):
        decisions.approve(asked, cast.olga, decisions.Limits(releases=99))
    assert [(entry.person, entry.outcome, entry.code) for entry in since()] == [
        (cast.paul, "refused", "not_data_owner"),
        (cast.olga, "refused", "exceeds_request"),
    ]


def test_entries_of_one_transaction_are_written_at_its_end_in_their_order(cast, since):
    with audit.atomic():
        audit.record(Action.LOG_IN, cast.sam, by=cast.sam)
        with audit.atomic():
            audit.record(Action.LOG_OUT, cast.sam, by=cast.sam)
        assert since() == []
    assert [entry.action for entry in since()] == ["log_in", "log_out"]


def test_what_a_part_of_a_transaction_recorded_goes_with_it_where_it_is_undone(cast, since):
    def fail():
        with audit.atomic():
            audit.record(Action.LOG_OUT, cast.sam, by=cast.sam)
            raise DiskFull

    with audit.atomic():
        audit.record(Action.LOG_IN, cast.sam, by=cast.sam)
        with pytest.raises(DiskFull):
            fail()
    assert [entry.action for entry in since()] == ["log_in"]


def test_a_detail_has_room_for_nothing_but_what_its_action_says(cast):
    for facts in ({"reason": "Olga told me so"}, {"role": "Data Owner, of course"}, {"role": 7}):
        with pytest.raises(ValidationError):
            audit.record(Action.GIVE_ROLE, cast.sam, by=cast.ada, **facts)
    with pytest.raises(ValidationError):
        audit.record(Action.LOG_IN, cast.sam, by=cast.sam, name="Sam")


def test_no_detail_has_a_field_for_free_text():
    """Every text in a detail has a pattern, and no pattern lets a space, an @ or an upper-case letter through."""
    for schema in {Detail, *DETAILS.values()}:
        for text in (part for part in strings(schema.model_json_schema()) if True):
            assert "pattern" in text, schema
            assert not any(
                re.search(text["pattern"], free) for free in ("Sam Scientist", "sam@example.org", "PASS")
            )


def strings(schema):
    """The parts of a JSON schema that are texts."""
    if isinstance(schema, dict):
        if schema.get("type") == "string":
            yield schema
        for value in schema.values():
            yield from strings(value)
    if isinstance(schema, list):
        for value in schema:
            yield from strings(value)


def test_a_thing_that_nobody_has_described_cannot_be_recorded(cast):
    with pytest.raises(TypeError, match="is no subject of the audit: describe it"):
        audit.record(Action.LOG_IN, object(), by=cast.sam)


def test_an_entry_concerns_the_organisations_of_the_thing_and_of_whoever_acts(cast, asked, since):
    decisions.approve(asked, cast.olga)
    [entry] = since(action="approve_request")
    hospital, university = cast.olga.organisation_id, cast.sam.organisation_id
    assert f" organisation:{hospital} " in entry.concerns
    assert f" dataset:{cast.dataset.pk} " in entry.concerns
    assert f" request:{asked.pk} " in entry.concerns
    assert f" organisation:{university} " not in entry.concerns
    assert entry in AuditEntry.objects.concerning(Thing.DATASET, cast.dataset.pk)
    assert entry not in AuditEntry.objects.concerning(Thing.ORGANISATION, university)
    # An id is never found within a longer one.
    assert entry not in AuditEntry.objects.concerning(Thing.DATASET, str(cast.dataset.pk)[:-1])


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(
    "connection.vendor == 'sqlite'", reason="In memory, SQLite has one writer; see processes below."
)
def test_threads_that_append_at_the_same_time_keep_one_chain(verified):
    def append(number):
        for _ in range(15):
            with audit.atomic():
                audit.record(Action.LOG_OUT, Subject(Thing.PERSON, str(number)), by=Kind.SYSTEM)
        connection.close()

    before = audit.head().serial
    threads = [threading.Thread(target=append, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verified().serial == before + 90


APPENDING = """
import django
django.setup()
from fedcore.coordinator.governance import audit
from fedcore.coordinator.governance.audit import Action, Kind, Subject, Thing
for number in range(40):
    audit.record(Action.LOG_OUT, Subject(Thing.PERSON, str(number)), by=Kind.SYSTEM)
"""


@pytest.mark.slow
def test_processes_that_append_at_the_same_time_keep_one_chain(tmp_path):
    """Four processes on one SQLite file, as web process and workers are."""
    left_out = ("DATABASE_URL", "BROKER_URL")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment |= {"FEDCORE_DATA_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "project.settings"}

    def run(*command):
        return subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment, stdout=subprocess.PIPE)

    assert run("manage.py", "migrate", "--verbosity", "0").wait(120) == 0
    processes = [run("-c", APPENDING) for _ in range(4)]
    assert [process.wait(120) for process in processes] == [0] * 4
    said = run("manage.py", "audit", "verify").communicate(timeout=120)[0].decode()
    assert said.startswith("160 entries are whole.")


class Statements:
    """Watches a connection: what a transaction still touches after it has locked the head of the audit."""

    WRITES = re.compile(r'^(INSERT INTO|UPDATE|DELETE FROM|SELECT .* FROM) ["`](\w+)["`]', re.DOTALL)

    def __init__(self):
        self.locked, self.late = False, []

    def __call__(self, execute, sql, params, many, context):
        if not connection.in_atomic_block:
            self.locked = False
        found = self.WRITES.match(sql)
        if found and self.locked and not found[2].startswith("governance_audit"):
            writes = not sql.startswith("SELECT") or "FOR UPDATE" in sql
            self.late += [sql] * writes
        if "governance_audithead" in sql and not self.locked:
            self.locked = True
            transaction.on_commit(self._ended)
        return execute(sql, params, many, context)

    def _ended(self):
        self.locked = False


@pytest.mark.django_db(transaction=True)
def test_the_head_is_locked_last_so_that_nobody_waits_in_a_circle(world, browser):
    """A whole run with everything that is recorded on the way: after the head, no transaction locks another row."""
    statements = Statements()
    with connection.execute_wrapper(statements):
        run = world.drive(world.submit())
        cancelled = world.submit()
        from fedcore.coordinator.runs import ending

        ending.cancel(cancelled.pk)
        decisions.revoke(world.requests["north"], world.owners["north"], "because")
        submissions.revoke_key(PersonKey.objects.get(person=world.sam))
        browser(world.sam).post(f"/admin/runs/run/{run.pk}/delete/", {"post": "yes"})
    assert not Run.objects.filter(pk=run.pk).exists()
    assert statements.late == []


@pytest.mark.django_db(transaction=True)
def test_the_watch_over_statements_sees_a_lock_after_the_head(cast):
    statements = Statements()
    with connection.execute_wrapper(statements), transaction.atomic():
        audit.record(Action.LOG_IN, cast.sam, by=cast.sam)
        PersonKey.objects.update(revoked_at=None)
    assert len(statements.late) == 1


def test_the_detail_is_json_with_sorted_names(cast, since):
    audit.record(Action.END_TOKEN, Subject(Thing.TOKEN, "ab"), by=cast.sam, expired=True)
    assert json.loads(since()[0].detail) == since()[0].facts == {"expired": True}
