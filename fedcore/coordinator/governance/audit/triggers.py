"""The database's own refusal to change or delete entries, whoever asks: triggers on SQLite, PostgreSQL and MariaDB.

Django rewrites a table on SQLite by copying and dropping it, and the triggers go with the old one. So they are put back
after every migration, looked for at every start, and once more before a process appends its first entry, by what they
say: one of the right name that does something else counts as missing. Whoever may alter the schema can still drop them:
then the chain shows what was altered.
"""

from __future__ import annotations

from typing import Any, Final

from django.db import connection as default_connection

TABLE: Final = "governance_auditentry"
REFUSAL: Final = "the audit is append-only"

_BODY: Final = f" BEGIN RAISE EXCEPTION '{REFUSAL}'; END "
_PLPGSQL: Final = (
    f"CREATE OR REPLACE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $${_BODY}$$"
)
_TRIGGERS: Final[dict[str, dict[str, str]]] = {
    "sqlite": {
        "audit_no_update": f"BEFORE UPDATE ON {TABLE} BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END",
        "audit_no_delete": f"BEFORE DELETE ON {TABLE} BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END",
        # INSERT OR REPLACE deletes without asking the trigger above.
        "audit_no_replace": f"BEFORE INSERT ON {TABLE} "  # noqa: S608 (constants)
        f"WHEN NEW.serial <= (SELECT MAX(serial) FROM {TABLE}) "
        f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END",
    },
    "postgresql": {
        "audit_no_change": f"BEFORE DELETE OR UPDATE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION audit_is_append_only()",
        "audit_no_truncate": f"BEFORE TRUNCATE ON {TABLE} FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()",
    },
    "mysql": {
        f"audit_no_{event}": f"BEFORE {event.upper()} ON {TABLE} FOR EACH ROW "
        f"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{REFUSAL}'"
        for event in ("update", "delete")
    },
}
_PRESENT: Final = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s",
    "postgresql": "SELECT tgname, pg_get_triggerdef(pg_trigger.oid, true) || ' ' || prosrc FROM pg_trigger "
    "JOIN pg_proc ON pg_proc.oid = tgfoid "
    "WHERE NOT tgisinternal AND tgenabled IN ('O', 'A') AND tgrelid = to_regclass(%s)",
    "mysql": "SELECT trigger_name, CONCAT_WS(' ', 'CREATE TRIGGER', trigger_name, action_timing, event_manipulation, "
    "'ON', event_object_table, 'FOR EACH', action_orientation, action_statement) FROM information_schema.triggers "
    "WHERE trigger_schema = DATABASE() AND event_object_table = %s",
}
"""The triggers of the table by name, and what each says, on PostgreSQL with the source of its function."""


class TriggersMissing(Exception):
    """The database would let entries be changed. Nothing is recorded, so nothing that must be recorded is done."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(
            f"The table {TABLE} lacks the triggers {', '.join(names)}, without which entries of the audit could be "
            "changed. Put them back with `python manage.py migrate`, then look for what was altered with `python "
            "manage.py audit verify`."
        )


def missing(connection: Any = default_connection) -> list[str]:
    """The triggers that are not there, or say something else. Raises `DatabaseError`."""
    with connection.cursor() as cursor:
        cursor.execute(_PRESENT[connection.vendor], [TABLE])
        present = {name: _plain(text) for name, text in cursor.fetchall()}
    return [
        name for name in names(connection.vendor) if present.get(name) != _wanted(connection.vendor, name)
    ]


def install(connection: Any = default_connection) -> list[str]:
    """Put the missing triggers back, and say which; nothing where the table itself is not there."""
    absent = missing(connection)
    if not absent or TABLE not in connection.introspection.table_names():
        return []
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(_PLPGSQL)
        table = f" ON {TABLE}" if connection.vendor == "postgresql" else ""
        for name in absent:
            # One that is switched off, or says something else, counts as missing.
            cursor.execute(f"DROP TRIGGER IF EXISTS {name}{table}")
            cursor.execute(f"CREATE TRIGGER {name} {_TRIGGERS[connection.vendor][name]}")
    return absent


def names(vendor: str) -> list[str]:
    """The triggers that a database of this kind has to have."""
    return list(_TRIGGERS[vendor])


def _wanted(vendor: str, name: str) -> str:
    body = _BODY if vendor == "postgresql" else ""
    return _plain(f"CREATE TRIGGER {name} {_TRIGGERS[vendor][name]} {body}")


def _plain(text: str) -> str:
    """A definition without what databases write differently: spaces and the quotes around names."""
    return " ".join(text.replace('"', "").replace("`", "").split())
