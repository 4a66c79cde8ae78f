"""Head receipts: peers notice a ledger that was put back together with its counter, and nobody can forge their word."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fedcore.owner.agent import Agent
from fedcore.owner.chain import FIRST
from fedcore.owner.witnessing import REPEAT_SECONDS, TELL_AGAIN_SECONDS, Memory
from fedcore.privacy.mechanisms import Unbounded
from fedcore.wire.codes import RefusalCode
from fedcore.wire.heads import HeadReceipt, LedgerHead
from fedcore.wire.keys import SigningKey
from fedcore.wire.orders import Phase
from fedcore.wire.signing import Signed
from fedcore.wire.spec import PluginChoice, Privacy, Protocol, Training
from tests.owner.cast import PLAIN, Cast, Owner, Plan
from tests.owner.playing import code_of, do

from .test_ledger import PLENTY, wanted

ONE = Privacy(epsilon_micro=1_000_000, delta=1e-6)
EVE = SigningKey.generate()


@dataclass
class Clock:
    now: float = field(default_factory=time.time)

    def __call__(self) -> float:
        return self.now


@dataclass
class Two:
    """North, whose ledger is watched, and south, which watches it."""

    cast: Cast
    clock: Clock
    north: Agent
    south: Agent

    @property
    def owner(self) -> Owner:
        return self.cast.owners[0]

    def exchange(self) -> None:
        """North asks, south answers, north hears."""
        self.north.witnessing.exchange()
        self.south.witnessing.exchange()
        self.north.witnessing.exchange()

    def book(self, *runs: int) -> None:
        for run in runs:
            assert self.north.ledger.reserve(wanted(run, Unbounded()), PLENTY) is None

    def restore(self, backup: Path, counter: bytes) -> None:
        """North's whole machine is put back: its home and the counter outside."""
        self.north.close()
        shutil.rmtree(self.owner.home.path)
        shutil.copytree(backup, self.owner.home.path)
        self.counter.write_bytes(counter)
        self.north = self.owner.agent(clock=self.clock)

    @property
    def counter(self) -> Path:
        return self.owner.home.counter_path(self.owner.home.load_config().ledger)


@pytest.fixture
def two(tmp_path: Path, warmed: None) -> Iterator[Two]:
    cast, clock = Cast(tmp_path).settle_in(["north", "south"], rows=600), Clock()
    two = Two(cast, clock, *(owner.agent(clock=clock) for owner in cast.owners))
    yield two
    two.north.close()
    two.south.close()


@pytest.fixture
def restored(two: Two, tmp_path: Path) -> Two:
    """After a backup north has booked two more runs, and south has seen it."""
    two.book(1, 2)
    backup, counter = tmp_path / "backup", two.counter.read_bytes()
    shutil.copytree(two.owner.home.path, backup)
    two.book(3, 4)
    two.exchange()
    two.restore(backup, counter)
    return two


def receipt_of(two: Two, **changes: Any) -> Signed:
    """South's receipt for what north asks now, with something else in it."""
    asked = two.cast.coordinator.heads[two.owner.key]
    facts = {"asked": asked.digest, "latest": asked, "at": int(two.clock())}
    return HeadReceipt(**facts | changes).signed_by(two.cast.owners[1].home.signing_key)


def deliver(two: Two, receipt: Signed) -> None:
    """The coordinator hands north this receipt for what it asks now."""
    asked = two.cast.coordinator.heads[two.owner.key]
    two.cast.coordinator.head_receipts[asked.digest, receipt.signer] = receipt
    two.north.witnessing.exchange()


def altered(signed: Signed) -> Signed:
    return signed.model_copy(update={"text": signed.text.replace('"at":', '"at": ')})


def passed_over(two: Two) -> list[str]:
    return [entry.content for entry in two.north.journal.entries() if '"witness"' in entry.content]


def pin(two: Two, key: SigningKey, owner: int = 0) -> None:
    """Another host is a peer of north's, or of south's, from here on."""
    config = two.cast.owners[owner].home.config_path
    card = two.cast.owners[owner].home.card
    other = str(card).replace(card.signing, key.public)
    entry = f'[[peers]]\nname = "evil"\ncard = "{other}"\norganisation = "evil"\n'
    config.write_text(config.read_text() + f"\n{entry}")


def head(key: SigningKey, serial: int, digest: str = "a" * 64) -> Signed:
    return LedgerHead(serial=serial, digest=digest, nonce="0" * 32, at=1).signed_by(key)


def test_a_peer_confirms_a_ledger_that_is_current(two: Two) -> None:
    two.book(1, 2)
    assert two.north.witnessing.confirmed_at() is None
    two.exchange()
    assert two.north.witnessing.confirmed_at() == two.clock.now
    assert two.north.ledger.held() is None


def test_a_ledger_that_was_put_back_with_its_counter_is_held_by_what_a_peer_remembers(restored: Two) -> None:
    assert restored.north.ledger.held() is None, "on this machine nothing shows it"
    restored.exchange()
    held = restored.north.ledger.held()
    assert held is not None
    assert held.startswith("The host south knows entry 4")
    assert restored.north.witnessing.confirmed_at() is None
    (event,) = [entry.content for entry in restored.north.journal.entries() if '"ledger"' in entry.content]
    assert "an older copy was put back" in event


def test_orders_are_refused_until_a_person_decides_and_then_the_ledger_goes_on(restored: Two) -> None:
    restored.exchange()
    plan = restored.cast.spec(Protocol.LOCAL, backend=PLAIN)
    order = plan.order(Phase.CHECK, restored.owner)
    assert code_of(plan, restored.north, order) is RefusalCode.LEDGER_HELD
    assert restored.north.ledger.accept("the disk failed", {}).serial == 5
    again = plan.again()
    do_check = code_of(again, restored.north, again.order(Phase.CHECK, restored.owner))
    assert do_check is None
    restored.exchange()
    restored.exchange()
    assert restored.north.ledger.held() is None
    assert restored.north.witnessing.confirmed_at() is not None


def test_a_ledger_that_is_held_stays_held_after_a_restart(restored: Two) -> None:
    restored.exchange()
    restored.north.close()
    restored.north = restored.owner.agent(clock=restored.clock)
    assert restored.north.ledger.held() is not None


def test_another_history_of_the_same_length_is_noticed(restored: Two) -> None:
    restored.book(7, 8)
    assert restored.north.ledger.chain.head().serial == 4
    restored.exchange()
    assert restored.north.ledger.held() is not None


def test_a_coordinator_that_holds_receipts_back_keeps_them_from_being_fresh(two: Two) -> None:
    two.north.witnessing.exchange()
    two.north.witnessing.exchange()
    assert two.north.witnessing.confirmed_at() is None


def test_a_receipt_of_a_host_that_is_not_pinned_says_nothing(two: Two) -> None:
    two.north.witnessing.exchange()
    asked = two.cast.coordinator.heads[two.owner.key]
    facts = HeadReceipt(asked=asked.digest, latest=asked, at=1)
    deliver(two, facts.signed_by(EVE))
    assert two.north.witnessing.confirmed_at() is None


def test_a_receipt_for_a_question_of_an_earlier_agent_says_nothing(two: Two) -> None:
    two.exchange()
    old = next(iter(two.cast.coordinator.head_receipts.values()))
    two.north.close()
    two.north = two.owner.agent(clock=two.clock)
    two.north.witnessing.exchange()
    deliver(two, old)
    assert two.north.witnessing.confirmed_at() is None


@pytest.mark.parametrize("signer", [EVE, None])
def test_a_peer_cannot_hold_a_ledger_by_a_head_that_its_host_never_signed(
    two: Two, signer: SigningKey | None
) -> None:
    two.north.witnessing.exchange()
    invented = head(signer or two.cast.owners[1].home.signing_key, 99)
    deliver(two, receipt_of(two, latest=invented))
    assert two.north.ledger.held() is None
    assert two.north.witnessing.confirmed_at() is None
    (told,) = passed_over(two)
    assert "unknown_signer" in told


def test_a_receipt_that_was_altered_says_nothing(two: Two) -> None:
    two.north.witnessing.exchange()
    deliver(two, altered(receipt_of(two)))
    assert two.north.witnessing.confirmed_at() is None
    (told,) = passed_over(two)
    assert "bad_signature" in told


@pytest.mark.parametrize("spoilt", ["the head", "the receipt"])
def test_a_bad_receipt_of_one_peer_keeps_no_other_peer_from_being_heard(restored: Two, spoilt: str) -> None:
    """Otherwise one peer, or the coordinator, could silence every warning that the ledger was put back."""
    two, eve = restored, SigningKey.generate()
    pin(two, eve)
    two.exchange()
    assert two.north.ledger.held() is not None, "without the bad receipt it is held"
    two.north.ledger.accept("a test", {})
    two.book(5)
    asked = two.north.witnessing._question()
    bad = HeadReceipt(asked=asked.digest, latest=head(eve, 1), at=1).signed_by(eve)
    if spoilt == "the receipt":
        bad = altered(HeadReceipt(asked=asked.digest, latest=asked, at=1).signed_by(eve))
    later = head(two.owner.home.signing_key, 99)
    good = HeadReceipt(asked=asked.digest, latest=later, at=1).signed_by(two.cast.owners[1].home.signing_key)
    two.cast.coordinator.heads[two.owner.key] = asked
    two.cast.coordinator.head_receipts.clear()
    two.cast.coordinator.head_receipts[asked.digest, bad.signer] = bad
    two.cast.coordinator.head_receipts[asked.digest, good.signer] = good
    two.north.witnessing.exchange()
    held = two.north.ledger.held()
    assert held is not None
    assert held.startswith("The host south knows entry 99")


def test_a_bad_head_of_one_peer_keeps_no_other_peer_from_an_answer(two: Two) -> None:
    eve = SigningKey.generate()
    pin(two, eve, 1)
    two.cast.coordinator.heads = {eve.public: altered(head(eve, 3))}
    two.exchange()
    assert two.north.witnessing.confirmed_at() is not None


def test_bad_receipts_of_a_peer_are_journalled_once_in_a_while(two: Two) -> None:
    two.north.witnessing.exchange()
    for serial in range(1, 5):
        deliver(two, receipt_of(two, latest=head(EVE, serial)))
    assert len(passed_over(two)) == 1
    two.clock.now += TELL_AGAIN_SECONDS + 1
    two.north.witnessing.exchange()
    deliver(two, receipt_of(two, latest=head(EVE, 9)))
    assert len(passed_over(two)) == 2


def test_a_peer_answers_with_the_highest_head_that_it_has_seen(tmp_path: Path) -> None:
    memory, key = Memory(tmp_path / "witnessed.json"), SigningKey.generate()
    first, later = head(key, 3), head(key, 5)
    assert memory.latest(first) == first
    assert memory.latest(later) == later
    assert memory.latest(first) == later
    assert memory.latest(head(key, 5, "b" * 64)) == later, (
        "another history does not take the place of the first"
    )
    other = head(EVE, 1)
    assert memory.latest(other) == other
    assert Memory(tmp_path / "witnessed.json").latest(first) == later
    assert (tmp_path / "witnessed.json").stat().st_mode & 0o777 == 0o600


def test_a_head_that_its_host_did_not_sign_is_not_remembered(two: Two) -> None:
    forged = head(two.owner.home.signing_key, 9).model_copy(update={"signature": head(EVE, 9).signature})
    two.cast.coordinator.heads[two.owner.key] = forged
    two.south.witnessing.exchange()
    assert not two.cast.coordinator.head_receipts
    two.exchange()
    assert two.north.ledger.held() is None


def test_the_question_is_the_same_until_the_ledger_or_the_time_has_moved(two: Two) -> None:
    asked = []
    for change in (lambda: None, lambda: two.book(1), lambda: None):
        two.north.witnessing.exchange()
        asked.append(two.cast.coordinator.heads[two.owner.key].digest)
        change()
    two.clock.now += REPEAT_SECONDS + 1
    two.north.witnessing.exchange()
    asked.append(two.cast.coordinator.heads[two.owner.key].digest)
    assert asked[0] == asked[1]
    assert len(set(asked)) == 3


def test_a_host_without_peers_asks_nobody(tmp_path: Path, warmed: None) -> None:
    cast = Cast(tmp_path).settle_in(["north"], rows=600)
    agent = cast.owners[0].agent()
    agent.witnessing.exchange()
    agent.close()
    assert cast.coordinator.requests == []


def test_an_empty_ledger_is_confirmed_too(two: Two) -> None:
    two.exchange()
    asked = two.cast.coordinator.heads[two.owner.key].open(LedgerHead)
    assert (asked.serial, asked.digest) == (0, FIRST)
    assert two.north.witnessing.confirmed_at() is not None


def private(two: Two) -> Plan:
    noisy = Training(optimiser=PluginChoice(name="adam", options={"lr": 0.3}), epochs=5)
    return two.cast.spec(Protocol.LOCAL, backend=PLAIN, training=noisy, privacy=ONE, asked=ONE)


def test_where_receipts_are_required_epsilon_is_spent_only_while_a_peer_confirms(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedcore.owner.rules.privacy.FRESH_SECONDS", 600)
    path = two.owner.home.config_path
    path.write_text(path.read_text() + '\n[ledger]\nreceipts = "required"\n')
    refused = private(two)
    order = refused.order(Phase.CHECK, two.owner)
    assert code_of(refused, two.north, order) is RefusalCode.LEDGER_HELD
    two.exchange()
    allowed = private(two)
    do(allowed, [two.north], Phase.CHECK)
    two.clock.now += 601
    train = allowed.order(Phase.TRAIN, two.owner, expires_at=int(two.clock()) + 600)
    assert code_of(allowed, two.north, train) is RefusalCode.LEDGER_HELD
    without = two.cast.spec(Protocol.LOCAL, backend=PLAIN)
    later = int(two.clock()) + 600
    assert code_of(without, two.north, without.order(Phase.CHECK, two.owner, expires_at=later)) is None


def test_where_receipts_are_welcome_a_held_back_receipt_stops_nothing(two: Two) -> None:
    do(private(two), [two.north], Phase.CHECK)
    assert two.north.witnessing.confirmed_at() is None
