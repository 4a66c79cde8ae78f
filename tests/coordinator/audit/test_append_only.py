"""Nobody changes or deletes an entry: not the model, not a queryset, not the admin, and not SQL."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from celery.signals import worker_init
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, models, transaction

from fedcore.coordinator.governance import audit
from fedcore.coordinator.governance.audit import Action, checks, recording, triggers
from fedcore.coordinator.governance.audit.entries import AppendOnly
from fedcore.coordinator.governance.models import AuditEntry
from tests.coordinator.conftest import drop_triggers

ROOT: Final = Path(__file__).resolve().parents[3]
DESTRUCTIVE = [
    "UPDATE TABLE SET action = 'log_out'",
    "UPDATE TABLE SET detail = '{}' WHERE serial = 1",
    "DELETE FROM TABLE",
    "DELETE FROM TABLE WHERE serial = 1",
]
COLUMNS = [field.column for field in AuditEntry._meta.concrete_fields]


@pytest.fixture
def entry(cast):
    audit.record(Action.LOG_IN, cast.sam, by=cast.sam)
    return AuditEntry.objects.latest("serial")


def test_an_entry_that_is_stored_is_not_saved_again(entry):
    entry.code = "other"
    with pytest.raises(AppendOnly, match="only added"):
        entry.save()


def test_an_entry_is_not_deleted(entry):
    with pytest.raises(AppendOnly):
        entry.delete()


@pytest.mark.parametrize(
    "destroy",
    [
        lambda rows: rows.update(code="x"),
        lambda rows: rows.delete(),
        lambda rows: rows.bulk_update(list(rows), ["code"]),
        lambda rows: rows.bulk_create(list(rows), update_conflicts=True),
    ],
    ids=["update", "delete", "bulk_update", "bulk_create"],
)
def test_a_queryset_changes_no_entry(entry, destroy):
    with pytest.raises(AppendOnly):
        destroy(AuditEntry.objects.filter(pk=entry.pk))


@pytest.mark.parametrize("statement", DESTRUCTIVE)
def test_the_database_refuses_sql_that_changes_entries(entry, sql, statement):
    with pytest.raises(DatabaseError, match=triggers.REFUSAL), transaction.atomic():
        sql(statement)
    assert AuditEntry.objects.latest("serial").digest == entry.digest


def test_djangos_own_update_below_the_model_is_refused_by_the_database(entry):
    rows = models.QuerySet(AuditEntry)
    with pytest.raises(DatabaseError, match=triggers.REFUSAL), transaction.atomic():
        rows.filter(pk=entry.pk).update(code="x")
    with pytest.raises(DatabaseError, match=triggers.REFUSAL), transaction.atomic():
        rows.filter(pk=entry.pk).delete()


def test_replacing_an_entry_is_refused_too(entry, sql):
    if connection.vendor == "postgresql":
        statement = f"INSERT INTO TABLE SELECT * FROM TABLE WHERE serial = {entry.pk} "
        statement += "ON CONFLICT (serial) DO UPDATE SET code = 'x'"
    else:
        columns = ", ".join(COLUMNS)
        statement = f"REPLACE INTO TABLE ({columns}) SELECT {columns} FROM TABLE WHERE serial = {entry.pk}"
    with pytest.raises(DatabaseError, match=triggers.REFUSAL), transaction.atomic():
        sql(statement)


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="Only PostgreSQL has triggers for TRUNCATE.")
def test_the_table_is_not_truncated(entry, sql):
    with pytest.raises(DatabaseError, match=triggers.REFUSAL), transaction.atomic():
        sql("TRUNCATE TABLE")


@pytest.mark.django_db(transaction=True)
def test_a_migration_that_rewrites_the_table_leaves_the_triggers_there():
    old = AuditEntry._meta.get_field("code")
    new = models.CharField(max_length=80, blank=True)
    new.set_attributes_from_name("code")
    new.model = AuditEntry
    with connection.schema_editor() as editor:
        editor.alter_field(AuditEntry, old, new)
    if connection.vendor == "sqlite":
        assert triggers.missing() == triggers.names("sqlite"), (
            "The rewrite drops them, so the rest shows something."
        )
    call_command("migrate", verbosity=0)
    assert triggers.missing() == []
    with connection.schema_editor() as editor:
        editor.alter_field(AuditEntry, new, old)
    call_command("migrate", verbosity=0)
    assert triggers.missing() == []


@pytest.mark.django_db(transaction=True)
def test_triggers_that_are_missing_are_told_with_a_hint_and_stop_all_recording(cast, monkeypatch, caplog):
    assert checks.check_triggers(databases=["default"]) == []
    drop_triggers()
    monkeypatch.setattr(recording, "_protected", set())
    [warning] = checks.check_triggers(databases=["default"])
    assert warning.id == "governance.W001"
    assert "manage.py migrate" in warning.hint
    with pytest.raises(triggers.TriggersMissing, match="audit verify"):
        audit.record(Action.LOG_IN, cast.sam, by=cast.sam)
    with pytest.raises(triggers.TriggersMissing):
        checks.refuse_to_start_without_triggers()
    with pytest.raises(SystemExit):
        checks.end_worker_without_triggers()
    with pytest.raises(CommandError, match="lacks the triggers"):
        call_command("audit", "verify")
    call_command("migrate", verbosity=0)
    checks.refuse_to_start_without_triggers()
    audit.record(Action.LOG_IN, cast.sam, by=cast.sam)
    assert call_command("audit", "verify") is None


def test_a_database_that_does_not_answer_is_no_reason_not_to_start(db, monkeypatch, caplog):
    def fail(connection):
        raise DatabaseError("no connection")

    monkeypatch.setattr(triggers, "missing", fail)
    checks.refuse_to_start_without_triggers()
    assert "could not be looked for: no connection" in caplog.text


def test_a_celery_worker_looks_for_the_triggers():
    assert checks.end_worker_without_triggers in worker_init._live_receivers(None)


@pytest.mark.slow
def test_no_web_process_starts_without_the_triggers_and_migrating_puts_them_back(tmp_path):
    left_out = ("DATABASE_URL", "BROKER_URL")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment |= {"FEDCORE_DATA_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "project.settings"}

    def run(*command):
        done = subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
        )
        return done.returncode, done.stdout + done.stderr

    assert run("manage.py", "migrate", "--verbosity", "0") == (0, "")
    with sqlite3.connect(tmp_path / "coordinator.sqlite3") as database:
        database.execute("DROP TRIGGER audit_no_update")
    for server in ("asgi", "wsgi"):
        status, said = run("-c", f"import project.{server}")
        assert status == 1
        assert "lacks the triggers audit_no_update" in said
    assert "governance.W001" in run("manage.py", "check", "--database", "default")[1]
    assert run("manage.py", "audit", "verify")[0] == 1
    assert run("manage.py", "migrate", "--verbosity", "0")[0] == 0
    assert run("-c", "import project.wsgi")[0] == 0
    assert run("manage.py", "audit", "verify") == (0, f"0 entries are whole. The last is 0, {'0' * 64}.\n")


NO_OPS = {
    "sqlite": {
        "audit_no_update": f"BEFORE UPDATE ON {triggers.TABLE} WHEN 0 BEGIN SELECT 1; END",
        "audit_no_delete": f"BEFORE DELETE ON {triggers.TABLE} WHEN 0 BEGIN SELECT 1; END",
        "audit_no_replace": f"BEFORE INSERT ON {triggers.TABLE} WHEN 0 BEGIN SELECT 1; END",
    },
    "postgresql": {
        "audit_no_change": f"BEFORE DELETE OR UPDATE ON {triggers.TABLE} FOR EACH ROW WHEN (false) "
        "EXECUTE FUNCTION audit_is_append_only()",
        "audit_no_truncate": f"BEFORE TRUNCATE ON {triggers.TABLE} FOR EACH STATEMENT WHEN (false) "
        "EXECUTE FUNCTION audit_is_append_only()",
    },
    "mysql": {
        f"audit_no_{event}": f"BEFORE {event.upper()} ON {triggers.TABLE} FOR EACH ROW SET @nothing = 1"
        for event in ("update", "delete")
    },
}


@pytest.mark.django_db(transaction=True)
def test_triggers_of_the_right_names_that_do_nothing_are_missing_and_are_put_back(cast):
    assert triggers.missing() == []
    drop_triggers()
    with connection.cursor() as cursor:
        for name, definition in NO_OPS[connection.vendor].items():
            cursor.execute(f"CREATE TRIGGER {name} {definition}")
    assert triggers.missing() == triggers.names(connection.vendor)
    with pytest.raises(CommandError, match="lacks the triggers"):
        call_command("audit", "verify")
    assert triggers.install() == triggers.names(connection.vendor)
    assert triggers.missing() == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="Only PostgreSQL's triggers call a function.")
def test_a_function_that_does_nothing_leaves_no_trigger_there():
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE OR REPLACE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RETURN NULL; END $$"
        )
    assert triggers.missing() == triggers.names("postgresql")
    triggers.install()
    assert triggers.missing() == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="Only PostgreSQL switches triggers off.")
@pytest.mark.parametrize("mode", ["DISABLE", "ENABLE REPLICA"])
def test_a_trigger_that_is_switched_off_is_missing(mode):
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {triggers.TABLE} {mode} TRIGGER audit_no_change")
    assert triggers.missing() == ["audit_no_change"]
