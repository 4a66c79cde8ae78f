"""The database's own refusal to change or delete entries, whoever asks: triggers on SQLite, PostgreSQL and MariaDB.

Django rewrites a table on SQLite by copying and dropping it, and the triggers go with the old one. So they are put back
after every migration, looked for at every start, and once more before a process appends its first entry. Whoever may
alter the schema can still drop them: then the chain shows what was altered.
"""

from __future__ import annotations

from typing import Any, Final

from django.db import connection as default_connection

TABLE: Final = "governance_auditentry"
REFUSAL: Final = "the audit is append-only"

_PLPGSQL: Final = f"""
CREATE OR REPLACE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '{REFUSAL}'; END $$
"""
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
        "audit_no_change": f"BEFORE UPDATE OR DELETE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION audit_is_append_only()",
        "audit_no_truncate": f"BEFORE TRUNCATE ON {TABLE} FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()",
    },
    "mysql": {
        f"audit_no_{event}": f"BEFORE {event.upper()} ON {TABLE} FOR EACH ROW "
        f"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{REFUSAL}'"
        for event in ("update", "delete")
    },
}
_PRESENT: Final = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s",
    "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'D' "
    "AND tgrelid = to_regclass(%s)",
    "mysql": "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE() "
    "AND event_object_table = %s",
}


class TriggersMissing(Exception):
    """The database would let entries be changed. Nothing is recorded, so nothing that must be recorded is done."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(
            f"The table {TABLE} lacks the triggers {', '.join(names)}, without which entries of the audit could be "
            "changed. Put them back with `python manage.py migrate`, then look for what was altered with `python "
            "manage.py audit verify`."
        )


def missing(connection: Any = default_connection) -> list[str]:
    """The triggers that are not there. Raises `DatabaseError`."""
    with connection.cursor() as cursor:
        cursor.execute(_PRESENT[connection.vendor], [TABLE])
        present = {row[0] for row in cursor.fetchall()}
    return [name for name in names(connection.vendor) if name not in present]


def install(connection: Any = default_connection) -> list[str]:
    """Put the missing triggers back, and say which; nothing where the table itself is not there."""
    absent = missing(connection)
    if not absent or TABLE not in connection.introspection.table_names():
        return []
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(_PLPGSQL)
            # One that is there and switched off counts as missing.
            cursor.execute("".join(f"DROP TRIGGER IF EXISTS {name} ON {TABLE};" for name in absent))
        for name in absent:
            cursor.execute(f"CREATE TRIGGER {name} {_TRIGGERS[connection.vendor][name]}")
    return absent


def names(vendor: str) -> list[str]:
    """The triggers that a database of this kind has to have."""
    return list(_TRIGGERS[vendor])
