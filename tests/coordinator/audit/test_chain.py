"""The chain shows every alteration: edits, swaps, deletions, insertions and truncations, each at its place."""

from __future__ import annotations

import hashlib
import io
import json
import random

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from fedcore.coordinator.governance import audit
from fedcore.coordinator.governance.audit import Action, chain
from fedcore.coordinator.governance.audit.triggers import TABLE
from fedcore.coordinator.governance.audit.verifying import AuditBroken
from fedcore.coordinator.governance.models import AuditAddress, AuditEntry, AuditHead
from fedcore.coordinator.identity import coordinator_key
from fedcore.wire.keys import SigningKey
from tests.coordinator.conftest import drop_triggers

ENTRIES = 12
COLUMNS = [field.column for field in AuditEntry._meta.concrete_fields]


@pytest.fixture
def entries(cast):
    """Some entries, as rows of the database: the triggers are put back, the test's transaction brings them."""
    start = audit.head().serial
    for number in range(ENTRIES):
        audit.record(Action.GIVE_ROLE, cast.sam, by=cast.ada, role=f"role-{number}")
    assert audit.head().serial == start + ENTRIES
    return AuditEntry.objects.order_by("serial")


def test_an_audit_that_nobody_touched_is_whole(entries, verified):
    found = verified(audit.head().digest)
    assert (found.entries, found.serial, found.digest) == (
        entries.count(),
        audit.head().serial,
        audit.head().digest,
    )


def test_serials_have_no_gap_and_every_entry_follows_the_one_before(entries):
    rows = list(entries)
    assert [row.serial for row in rows] == list(range(1, len(rows) + 1))
    assert [row.previous for row in rows[1:]] == [row.digest for row in rows[:-1]]
    assert rows[0].previous == "0" * 64


def test_the_digest_can_be_computed_from_an_exported_line_alone(entries):
    out = io.StringIO()
    call_command("audit", "export", stdout=out)
    rows = [json.loads(line) for line in out.getvalue().splitlines()]
    assert len(rows) == audit.head().serial - 1, "All but the entry about the export itself."
    for row in rows:
        digest, signature = row.pop("digest"), row.pop("signature")
        text = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        assert hashlib.sha256(text.encode()).hexdigest() == digest
        assert chain.is_signed(digest, coordinator_key().public, signature)


def test_verifying_can_begin_further_on(entries, verified):
    assert verified(start=11).entries == entries.count() - 10
    with pytest.raises(AuditBroken, match="it is missing"):
        verified(start=entries.count() + 5)


def test_entries_that_another_key_has_signed_are_found(entries, verified):
    from fedcore.coordinator.governance.audit import verifying

    with pytest.raises(AuditBroken, match="Audit entry 1: it is signed with the key"):
        verifying.verify({SigningKey.generate().public})


def forged(entry, key):
    """The entry, sealed anew with a key that is not the coordinator's and says it is."""
    own = coordinator_key().public
    chain.seal(entry, key)
    entry.signer = own
    entry.digest = chain.digest_of(entry)


def test_a_forged_signature_is_found_although_all_digests_fit(entries, verified):
    drop_triggers_here()
    last = entries.last()
    last.detail = '{"role":"administrator"}'
    forged(last, SigningKey.generate())
    rewrite(last)
    AuditHead.objects.update(digest=last.digest)
    with_triggers()
    with pytest.raises(
        AuditBroken, match=f"Audit entry {last.serial}: its signature is not the coordinator's"
    ):
        verified()


def test_a_truncated_audit_is_found_with_a_head_that_was_kept(entries, verified):
    kept = audit.head().digest
    drop_triggers_here()
    last = list(entries)[-4]
    execute(f"DELETE FROM {TABLE} WHERE serial > %s", last.serial)
    with_triggers()
    with pytest.raises(AuditBroken, match=f"Audit entry {last.serial + 1}: the head says"):
        verified()
    AuditHead.objects.update(serial=last.serial, digest=last.digest)
    assert verified().serial == last.serial, "Without a kept head, this cannot be seen."
    with pytest.raises(AuditBroken, match=f"Audit entry {last.serial + 1}: the entry with the digest {kept}"):
        verified(kept)


def test_an_address_that_was_replaced_is_found_and_one_that_was_erased_is_not(cast, client, verified):
    client.post("/admin/login/", {"username": "sam", "password": "correct horse battery"})
    row = AuditAddress.objects.get(person=cast.sam)
    assert row.address == "127.0.0.1"
    assert verified().entries
    AuditAddress.objects.filter(pk=row.pk).update(address="192.0.2.1")
    with pytest.raises(AuditBroken, match="its address is not the one that was recorded"):
        verified()
    row.delete()
    assert verified().entries


def test_the_command_names_the_first_bad_entry_and_fails(entries):
    out, count = io.StringIO(), entries.count()
    call_command("audit", "verify", "--head", audit.head().digest, stdout=out)
    assert f"{count} entries are whole. The last is {count}, " in out.getvalue()
    drop_triggers_here()
    execute(f"UPDATE {TABLE} SET code = 'x' WHERE serial = 7")
    with_triggers()
    with pytest.raises(CommandError, match="Audit entry 7: its content does not fit its digest"):
        call_command("audit", "verify")
    call_command("audit", "verify", "--from", "8", "--unrecorded", stdout=out)
    assert out.getvalue().splitlines()[-1].startswith(f"{entries.count() - 7} entries are whole")


def test_a_former_key_of_the_coordinator_can_be_named(entries, settings, tmp_path):
    former = coordinator_key().public
    settings.FEDCORE_DATA_DIR = tmp_path / "new"
    with pytest.raises(CommandError, match="is signed with the key"):
        call_command("audit", "verify")
    out = io.StringIO()
    call_command("audit", "verify", f"--key={former}", stdout=out)
    assert "are whole" in out.getvalue()


def test_random_alterations_are_all_found(entries, verified):
    alter_and_find(150, entries, verified)


@pytest.mark.nightly
def test_ten_thousand_random_alterations_are_all_found(entries, verified):
    alter_and_find(10_000, entries, verified)


def alter_and_find(times, entries, verified):
    """Alter the audit in a random way, find it, and put it back; each time at another place."""
    dice = random.Random(20_261)
    rows, kept = list(entries), audit.head()
    drop_triggers_here()
    without_looking_for_triggers = pytest.MonkeyPatch()
    without_looking_for_triggers.setattr("fedcore.coordinator.governance.audit.triggers.missing", lambda: [])
    missed = []
    for number in range(times):
        alteration = dice.choice([edit, swap, delete, insert, truncate])
        alteration(dice, rows)
        try:
            verified(kept.digest)
            missed.append((number, alteration.__name__))
        except AuditBroken:
            pass
        restore(rows, kept)
    without_looking_for_triggers.undo()
    assert missed == []
    assert verified_again(verified, kept)


def verified_again(verified, kept):
    with_triggers()
    return verified(kept.digest).serial == kept.serial


def edit(dice, rows):
    """One character of one field becomes another."""
    row = dice.choice(rows)
    field = dice.choice([f for f in AuditEntry._meta.concrete_fields if f.name != "serial"])
    value = getattr(row, field.attname)
    execute(
        f"UPDATE {TABLE} SET {field.column} = %s WHERE serial = %s", changed(dice, field, value), row.serial
    )


def changed(dice, field, value):
    if field.name == "at":
        from datetime import timedelta

        return value + timedelta(microseconds=dice.choice([1, -1, 10**6]))
    if field.name in ("person", "host"):
        return (value or 0) + 1
    text = value or ""
    if not text:
        return "x"
    place = dice.randrange(len(text))
    other = dice.choice([c for c in "0123456789abcdef {}" if c != text[place]])
    return text[:place] + other + text[place + 1 :]


def swap(dice, rows):
    """Two entries change places."""
    first, second = dice.sample(rows, 2)
    execute(f"UPDATE {TABLE} SET serial = -1 WHERE serial = %s", first.serial)
    execute(f"UPDATE {TABLE} SET serial = %s WHERE serial = %s", first.serial, second.serial)
    execute(f"UPDATE {TABLE} SET serial = %s WHERE serial = -1", second.serial)


def delete(dice, rows):
    execute(f"DELETE FROM {TABLE} WHERE serial = %s", dice.choice(rows).serial)


def insert(dice, rows):
    """A copy of an entry is put behind the last."""
    copied = dice.choice(rows)
    others = ", ".join(column for column in COLUMNS if column != "serial")
    execute(
        f"INSERT INTO {TABLE} (serial, {others}) SELECT %s, {others} FROM {TABLE} WHERE serial = %s",
        rows[-1].serial + 1,
        copied.serial,
    )


def truncate(dice, rows):
    """Entries are cut off the end, and the head is set back: only the head that was kept shows it."""
    last = dice.choice(rows[:-1])
    execute(f"DELETE FROM {TABLE} WHERE serial > %s", last.serial)
    AuditHead.objects.update(serial=last.serial, digest=last.digest)


def restore(rows, kept):
    execute(f"DELETE FROM {TABLE}")
    for row in rows:
        row._state.adding = True
        row.save()
    AuditHead.objects.update(serial=kept.serial, digest=kept.digest)


def rewrite(entry):
    execute(f"DELETE FROM {TABLE} WHERE serial = %s", entry.serial)
    entry._state.adding = True
    entry.save()


def execute(statement, *values):
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def drop_triggers_here():
    if connection.vendor == "mysql":
        pytest.skip("MariaDB ends the test's transaction when a trigger is dropped.")
    drop_triggers()


def with_triggers():
    from fedcore.coordinator.governance.audit import triggers

    triggers.install()
