from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from examples.demo.checks import check_quality
from examples.demo.coordinator import Coordinator, site_toml
from examples.demo.data import PORTAL, PORTAL_BUDGET, make_offers, portal_offer
from examples.demo.errors import DemoError
from examples.demo.files import is_combined
from examples.demo.hosts import owner_toml
from examples.demo.offer import DATASET
from examples.demo.organisations import Cast, make_cast
from examples.demo.plans import plans
from examples.demo.processes import Processes, processes_at_home_in
from examples.demo.settings import ROOT, ROWS, Settings
from fedcore.client import RunPlan
from fedcore.owner.config import parse_config
from fedcore.wire.keys import HostCard, SealingKey, SigningKey
from fedcore.wire.spec import Protocol
from plugins.readers.apache.generator import generate


@pytest.fixture
def cast(tmp_path: Path) -> Cast:
    return make_cast(tmp_path / "demo")


def folders(cast: Cast) -> tuple[Path, Path]:
    return cast.owners[0].directory, cast.owners[1].directory


def test_without_settings_both_owners_get_generated_rows() -> None:
    settings = Settings.from_environment({})
    assert (settings.once, settings.rows, settings.log) == (False, ROWS, None)


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({"GOOD": __file__}, "BAD is missing"),
        ({"BAD": __file__}, "GOOD is missing"),
        ({"LOG": "/nowhere/access.log"}, "LOG=/nowhere/access.log: there is no such file"),
        ({"GOOD": __file__, "BAD": __file__, "LOG": __file__}, "Give GOOD and BAD, or LOG"),
        ({"FEDCORE_DEMO_ROWS": "12"}, "not a number of rows from 2,000"),
        ({"FEDCORE_DEMO_ROWS": "many"}, "not a number of rows from 2,000"),
    ],
)
def test_wrong_settings_say_what_to_correct(environment: dict[str, str], text: str) -> None:
    with pytest.raises(DemoError, match=text):
        Settings.from_environment(environment)


def test_mistakes_in_the_settings_end_with_status_1_and_the_remedy(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.demo"],
        cwd=ROOT,
        env=os.environ | {"LOG": "/nowhere.log", "FEDCORE_DEMO_DIR": str(tmp_path / "demo")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "there is no such file" in done.stdout
    assert "Correct the path in LOG." in done.stdout
    assert not (tmp_path / "demo").exists()


def test_generated_logs_differ_from_owner_to_owner_and_samples_have_no_labels(cast: Cast) -> None:
    offers = make_offers(Settings(True, None, None, None, 2000), folders(cast))
    logs = [(folder / "access.log").read_text() for folder in folders(cast)]
    assert [log.count("\n") for log in logs] == [2000, 2000]
    assert not set(logs[0].splitlines()) & set(logs[1].splitlines())
    assert '"sqli"' not in offers[0].sample.read_text()


def test_given_lines_go_to_one_owner_each_and_near_duplicates_to_the_same(cast: Cast, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.txt", tmp_path / "bad.txt.gz"
    good.write_text("".join(f"/page/{n % 1500}x{chr(97 + n % 7)}\n" for n in range(3000)))
    bad.write_bytes(
        gzip.compress(b"".join(b"/?q=%d' or %s\r\n" % (n, bytes([97 + n % 26])) for n in range(2500)))
    )
    north, south = make_offers(Settings(True, good, bad, None, None), folders(cast))
    assert north.rows + south.rows == 5500
    dealt = [(folder / "benign.txt").read_text().splitlines() for folder in folders(cast)]
    assert sorted(dealt[0] + dealt[1]) == sorted(good.read_text().splitlines())
    shapes = [{line.split("x")[1] for line in lines} for lines in dealt]
    assert not shapes[0] & shapes[1], "lines that differ in digits only stay together"


def test_a_file_that_is_too_short_or_damaged_is_named(cast: Cast, tmp_path: Path) -> None:
    short, damaged = tmp_path / "short.txt", tmp_path / "damaged.gz"
    short.write_text("/\n" * 10)
    damaged.write_bytes(gzip.compress(b"/page\n" * 5000)[:40])
    with pytest.raises(DemoError, match=r"short\.txt has 10 lines"):
        make_offers(Settings(True, short, short, None, None), folders(cast))
    with pytest.raises(DemoError, match=r"damaged\.gz cannot be read"):
        make_offers(Settings(True, damaged, damaged, None, None), folders(cast))


def test_a_log_in_common_format_is_told_from_a_combined_one(cast: Cast, tmp_path: Path) -> None:
    combined, common = tmp_path / "combined.log", tmp_path / "common.log"
    lines = [line.rsplit(' "', 1)[0] for line in generate(200, 3)]
    combined.write_text("\n".join(lines))
    common.write_text("\n".join(line.rsplit(' "', 2)[0] for line in lines))
    assert is_combined(combined)
    assert not is_combined(common)
    [north, _] = make_offers(Settings(True, None, None, common, 2000), folders(cast))
    assert north.reader == "apache_common"
    assert "agent" not in north.columns


def test_every_host_gets_a_policy_that_its_own_program_accepts(cast: Cast) -> None:
    north, south = make_offers(Settings(True, None, None, None, 2000), folders(cast))
    south = replace(south, ceilings={"releases": 3})
    offers = [[north, portal_offer(cast.owners[0].directory)], [south], []]
    keys = {
        host.name: HostCard(SigningKey.generate().public, SealingKey.generate().public) for host in cast.hosts
    }
    cards = {name: str(card) for name, card in keys.items()}
    coordinator = Coordinator("http://127.0.0.1:8000", SigningKey.generate().public)
    scientist, configs = SigningKey.generate().public, []
    for host, offered in zip(cast.hosts, offers, strict=True):
        config = parse_config(owner_toml(host, cast, coordinator, cards, scientist, offered))
        assert {peer.key for peer in config.peers} == {
            keys[o.name].signing for o in cast.hosts if o is not host
        }
        assert config.reference.serves == (not offered)
        assert [peer.name for peer in config.peers if peer.reference] == (["notary"] if offered else [])
        configs.append(config)
    north_toml, south_toml, _ = configs
    assert [
        north_toml.datasets[DATASET].ceilings.releases,
        south_toml.datasets[DATASET].ceilings.releases,
    ] == [50, 3]
    portal = north_toml.datasets[PORTAL]
    assert (portal.epsilon_total, portal.protocols, portal.download) == (
        PORTAL_BUDGET,
        (Protocol.LOCAL,),
        False,
    )


def test_the_site_file_names_passwords_by_variable_only(cast: Cast) -> None:
    text = site_toml(cast, {host.name: "card" for host in cast.hosts})
    site = tomllib.loads(text)
    assert {person["username"] for person in site["people"]} == {"clara", "olga", "otto", "sam", "ada"}
    assert not any(person.password in text for person in cast.people)


def test_organisations_hand_down_nothing_of_the_users_environment(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_URL", "redis://shared")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    environment = cast.operator.environment(FEDCORE_DATA_DIR="x")
    assert environment["HOME"] == str(cast.operator.directory)
    assert not {"BROKER_URL", "AWS_SECRET_ACCESS_KEY"} & set(environment)


def test_the_four_plans_differ_in_protocol_and_protection_only() -> None:
    local, reference, shared, pooled = plans(["target"], SigningKey.generate().public)

    def same(plan: RunPlan) -> object:
        return plan.pipeline, plan.model, plan.training

    assert same(local) == same(reference) == same(shared) == same(pooled)
    found = [str(plan.protocol) for plan in (local, reference, shared, pooled)]
    assert found == ["local", "reference", "shared", "pooled"]


def reports(protocol: str, f1: float, auc: float) -> list[dict[str, object]]:
    """Of the reference, and of two protected models, of which the one under `protocol` differs."""
    common = {"confusion": [[11_000, 20], [40, 440]], "majority_f1": 0.0}
    return [
        {"protocol": name, "metrics": common | ({"f1": f1, "roc_auc": auc} if name == protocol else GOOD)}
        for name in ("reference", "shared", "pooled")
    ]


GOOD = {"f1": 0.93, "roc_auc": 0.998}


@pytest.mark.parametrize("protocol", ["shared", "pooled"])
def test_a_protected_model_as_good_as_the_reference_passes(protocol: str) -> None:
    texts = check_quality(reports(protocol, 0.92, 0.998))
    assert [text.split()[0] for text in texts] == ["shared", "pooled"]
    assert ["F1 -0.0100" in text for text in texts] == [text.startswith(protocol) for text in texts]


@pytest.mark.parametrize("protocol", ["shared", "pooled"])
@pytest.mark.parametrize(("f1", "auc"), [(0.85, 0.998), (0.93, 0.98), (0.0, 0.998)])
def test_a_protected_model_that_is_worse_fails_the_demonstration(
    protocol: str, f1: float, auc: float
) -> None:
    with pytest.raises(DemoError, match=f"worse than the reference .{protocol}"):
        check_quality(reports(protocol, f1, auc))


def test_a_command_that_fails_is_named_with_its_last_lines(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('line'); raise SystemExit('no data')"]
    with Processes(tmp_path) as processes, pytest.raises(DemoError, match="ended with status 1") as caught:
        processes.run("reader", "north", command, {"HOME": str(tmp_path)}, tmp_path / "log" / "reader.log")
    assert "no data" in caught.value.log


def test_a_command_gives_the_output_of_this_time_only(tmp_path: Path) -> None:
    log = tmp_path / "log" / "words.log"
    with Processes(tmp_path) as processes:
        for word in ("first", "second"):
            command = [sys.executable, "-c", f"print({word!r})"]
            assert processes.run("words", "north", command, {"HOME": str(tmp_path)}, log) == f"{word}\n"


def test_who_waits_for_one_process_hears_that_another_has_ended(tmp_path: Path) -> None:
    environment, log = {"HOME": str(tmp_path)}, tmp_path / "some.log"
    with Processes(tmp_path) as processes:
        sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
        sam = processes.start("sam", "university", sleeper, environment, log)
        processes.start("web", "north", [sys.executable, "-c", "1/0"], environment, tmp_path / "web.log")
        with pytest.raises(DemoError, match="“web” of north ended"):
            processes.attend(sam)


def test_who_waits_for_a_process_gets_its_status(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        command = [sys.executable, "-c", "raise SystemExit(3)"]
        sam = processes.start("sam", "university", command, {"HOME": str(tmp_path)}, tmp_path / "sam.log")
        assert processes.attend(sam) == 3
        assert not processes.running


def test_waiting_stops_when_a_process_has_ended(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        processes.start(
            "web", "north", [sys.executable, "-c", "1/0"], {"HOME": str(tmp_path)}, tmp_path / "web.log"
        )
        with pytest.raises(DemoError, match="“web” of north ended") as caught:
            processes.wait_until("it answers", lambda: False, 30)
    assert "ZeroDivisionError" in caught.value.log


@pytest.mark.processes
def test_nothing_stays_behind_not_even_what_left_its_group(tmp_path: Path) -> None:
    child = [sys.executable, "-c", "import time; time.sleep(60)"]
    starter = f"import subprocess, time; subprocess.Popen({child!r}, start_new_session=True); time.sleep(60)"
    with Processes(tmp_path) as processes:
        processes.start(
            "starter",
            "north",
            [sys.executable, "-c", starter],
            {"HOME": str(tmp_path)},
            tmp_path / "starter.log",
        )
        wait_for(lambda: len(list(processes_at_home_in(tmp_path))) == 2)
    assert gone(tmp_path)


@pytest.mark.processes
def test_a_process_that_closes_a_file_while_it_is_looked_at_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanished(_link: Path) -> Path:
        raise FileNotFoundError

    with Processes(tmp_path) as processes:
        sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
        started = processes.start("sleeper", "north", sleeper, {"HOME": str(tmp_path)}, tmp_path / "a.log")
        with monkeypatch.context() as patched:
            patched.setattr(Path, "readlink", vanished)
            found = list(processes_at_home_in(tmp_path))
        assert [(each.pid, each.held) for each in found] == [(started.popen.pid, [])]


@pytest.mark.processes
def test_processes_end_with_a_demonstration_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from examples.demo.processes import Processes\n"
        f"home = Path({str(tmp_path)!r}); child = [sys.executable, '-c', 'import time; time.sleep(60)']\n"
        "Processes(home).start('sleeper', 'north', child, {'HOME': str(home)}, home / 'sleeper.log')\n"
        "time.sleep(60)"
    )
    demonstration = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    try:
        wait_for(lambda: len(list(processes_at_home_in(tmp_path))) == 1)
    finally:
        os.kill(demonstration.pid, signal.SIGKILL)
        demonstration.wait()
    wait_for(lambda: gone(tmp_path))


def gone(home: Path) -> bool:
    return not list(processes_at_home_in(home))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
