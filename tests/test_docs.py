"""The documentation is run: reference pages follow the code, and every snippet and command works as it stands."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import typer
from typer.testing import CliRunner

from docs.reference import PAGES, TARGET
from fedcore.client.cli import app as client_app
from fedcore.client.runs import RunPlan
from fedcore.owner.checkup import remarks
from fedcore.owner.config import parse_config
from fedcore.plugin_api.pipeline import BuiltPipeline
from fedcore.plugin_api.private_training import hindrances
from fedcore.plugin_api.registry import BUILT_IN, AllowedDistribution, Registry
from fedcore.plugin_api.testing import StepContract
from fedcore.plugin_api.values import Text
from fedcore.wire.keys import HostCard, SealingKey, SigningKey
from fedcore.wire.spec import DatasetVersion, Protocol

ROOT = Path(__file__).resolve().parents[1]
GUIDES = [*sorted(ROOT.glob("docs/*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def snippets(path: Path, language: str) -> list[str]:
    return [text for found, text in FENCE.findall(path.read_text()) if found == language]


def commands(program: str) -> list[str]:
    lines = [line for path in GUIDES for text in snippets(path, "") for line in text.splitlines()]
    return sorted({line.split("#")[0].strip() for line in lines if line.split(" ")[0] == program})


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_reference_page_says_what_the_code_says(name: str) -> None:
    assert (TARGET / name).read_text() == PAGES[name](), "Run `make docs` and commit the pages."


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    pages = [str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if page not in navigation] == []


def test_the_page_that_helps_to_choose_names_every_protocol_and_backend() -> None:
    page = (ROOT / "docs" / "choosing.md").read_text()
    rows = "".join(line for line in page.splitlines() if line.startswith("| "))
    named = set(re.findall(r"`(\w+)`", rows))
    registry = Registry.of_distributions([AllowedDistribution(BUILT_IN)])
    assert {*registry.names("encryption"), *map(str, Protocol)} - named == set()


NAMED_PATH = re.compile(
    r"`((?:tests|plugins|project|benchmarks|examples|docs|deploy|requirements)/[\w./-]+|fedcore/[\w/]+\.py)`"
)


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_every_file_and_folder_that_a_page_names_exists(path: Path) -> None:
    assert [name for name in NAMED_PATH.findall(path.read_text()) if not (ROOT / name).exists()] == []


def test_each_promise_says_which_tests_check_it() -> None:
    table = (ROOT / "docs" / "security.md").read_text().split("## How it is checked")[1]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| ")][1:]
    named = [NAMED_PATH.findall(row[2]) for row in rows]
    assert len(rows) > 15
    assert [row[1] for row, paths in zip(rows, named, strict=True) if not paths] == []
    assert {name.split("/")[0] for paths in named for name in paths} == {"tests"}


def test_the_policy_in_the_guide_for_owners_is_a_valid_policy() -> None:
    card = str(HostCard(SigningKey.generate().public, SealingKey.generate().public))
    text = "\n".join(
        text
        for text in snippets(ROOT / "docs" / "owners.md", "toml")
        if "[coordinator]" in text or ".catalogue]" in text
    )
    for placeholder in ("uE2…", "Zk9…"):
        text = text.replace(placeholder, SigningKey.generate().public)
    policy = parse_config(text.replace("fedcore-host:…:…", card))
    assert policy.datasets["access-2026"].minimum_owners == 2
    assert policy.datasets["access-2026"].catalogue.sensitivity == "confidential"


def test_the_budgets_on_the_page_on_privacy_are_a_valid_policy_that_leaves_nothing_open() -> None:
    key = SigningKey.generate().public
    start = f'organisation = "north"\n[coordinator]\nurl = "https://x.example"\nkey = "{key}"\norganisation = "cloud"\n'
    text = next(text for text in snippets(ROOT / "docs" / "privacy.md", "toml") if "epsilon_total" in text)
    policy = parse_config(start + text)
    offer = policy.datasets["access-2026"]
    assert (offer.epsilon, offer.epsilon_total, offer.delta, offer.count_epsilon) == (1.0, 5.0, 1e-7, 0.05)
    assert (policy.ledger.receipts, offer.ceilings.epsilon) == ("required", 2.0)
    told = remarks(Registry.of_distributions([AllowedDistribution(BUILT_IN)]), policy)
    assert not [remark for remark in told if "epsilon" in remark]


def test_the_plan_on_the_page_on_privacy_keeps_its_epsilon_within_those_budgets() -> None:
    text = next(text for text in snippets(ROOT / "docs" / "privacy.md", "toml") if "[privacy]" in text)
    plan = RunPlan.from_mapping(tomllib.loads(text))
    registry = Registry.of_distributions([AllowedDistribution(BUILT_IN)])
    built = BuiltPipeline(registry, plan.pipeline, plan.backend)
    version = DatasetVersion(host=SigningKey.generate().public, name="access-2026", version="0" * 64)
    spec = plan.spec([version], ["0" * 64], now=1_800_000_000)
    model = registry.get("models", plan.model.name)(plan.model.options)
    assert hindrances(spec, model, built.gives, bool(built.fitted)) == []
    assert (spec.privacy.epsilon_micro, spec.privacy.delta) == (1_000_000, 1e-7)


def test_the_plan_in_the_guide_for_scientists_is_a_valid_plan() -> None:
    text = next(text for text in snippets(ROOT / "docs" / "scientists.md", "toml") if "pipeline" in text)
    plan = RunPlan.from_mapping(tomllib.loads(text))
    registry = Registry.of_distributions([AllowedDistribution(BUILT_IN)])
    assert BuiltPipeline(registry, plan.pipeline, plan.backend).gives == "matrix"


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_python_snippets_compile_and_what_they_import_exists(path: Path) -> None:
    for text in snippets(path, "python"):
        compile(text, str(path), "exec")
        for line in re.findall(r"^from (\S+) import (.+)$", text, re.MULTILINE):
            module = import_module(line[0])
            assert [name for name in line[1].split(", ") if not hasattr(module, name)] == []


def contributing_plugin() -> ModuleType:
    module = ModuleType("contributed")
    source = snippets(ROOT / "CONTRIBUTING.md", "python")[0]
    assert len(source.splitlines()) <= 32
    exec(compile(source, "CONTRIBUTING.md", "exec"), module.__dict__)
    return module


class TestThePluginInContributing(StepContract):
    @pytest.fixture
    def step(self) -> object:
        return contributing_plugin().Truncate({"length": 3})

    @pytest.fixture
    def value(self) -> Text:
        return Text.from_rows([b"GET /", b"", b"\xff\xfe\xfd\xfc"])

    def test_it_registers_and_does_what_it_says(self) -> None:
        registry = Registry([contributing_plugin()])
        step = registry.get("preprocessing", "truncate")({"length": 3})
        assert list(step.apply(Text.from_rows([b"GET /"]))) == [b"GET"]


def known_options(command: typer.models.CommandInfo | object) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts}  # type: ignore[attr-defined]


def resolved(line: str, app: typer.Typer) -> object:
    """The command that a line calls; each of its options stands where it is understood."""
    command = typer.main.get_command(app)
    for word in shlex.split(line)[1:]:
        if word.startswith("--"):
            assert word.split("=")[0] in known_options(command), f"{word} has no place in {line}"
        command = getattr(command, "commands", {}).get(word, command)
    return command


@pytest.mark.parametrize("line", commands("fedcore"))
def test_a_documented_command_of_the_client_exists(line: str) -> None:
    assert shlex.split(line)[1] in typer.main.get_command(client_app).commands  # type: ignore[attr-defined]
    resolved(line, client_app)


@pytest.mark.parametrize("line", commands("fedcore-owner"))
def test_a_documented_command_of_the_owner_exists(line: str) -> None:
    from fedcore.owner.cli import app as owner_app

    assert not hasattr(resolved(line, owner_app), "commands"), f"{line} stops at a group of commands"


@pytest.mark.parametrize("line", commands("python"))
def test_a_documented_management_command_exists(line: str) -> None:
    words = shlex.split(line)
    assert words[1] == "manage.py"
    command = [sys.executable, str(ROOT / "manage.py"), words[2], "--help"]
    assert subprocess.run(command, capture_output=True, timeout=120).returncode == 0


def test_the_client_explains_itself() -> None:
    shown = CliRunner().invoke(client_app, ["--help"]).output
    assert all(word in shown for word in ("login", "datasets", "request", "submit", "compare"))
