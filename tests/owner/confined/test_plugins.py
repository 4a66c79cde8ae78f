"""Third-party plugins of every kind, used by a host as if they were its own, and as hostile as they can be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedcore.owner.agent import Agent
from fedcore.owner.checkup import check_host, remarks
from fedcore.owner.confined.proxies import ConfinedPlugin
from fedcore.owner.datasets import DatasetProblem, Datasets
from fedcore.owner.facts import Allowed, Refused
from fedcore.owner.installed import allowed_registry
from fedcore.owner.release import ask_all
from fedcore.owner.run_folder import RunFolder
from fedcore.plugin_api import DatasetReader, SourceFile
from fedcore.plugin_api.footprint import distribution_digest
from fedcore.plugin_api.hookspecs import Release
from fedcore.plugin_api.plugins import InvalidOptions
from fedcore.plugin_api.registry import (
    AllowedDistribution,
    PluginError,
    Registry,
    installed_distribution,
)
from fedcore.plugin_api.rows import rows_of
from fedcore.plugin_api.serialise import unpack_model
from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import Phase
from fedcore.wire.reports import Status
from fedcore.wire.spec import Pipeline, PluginChoice, Privacy, Protocol, Training
from tests.owner.cast import HASHED, PLAIN, RANKED, Cast, Plan
from tests.owner.playing import agree, do, play
from tests.owner.third_party import install, installations, step

LOWERED = Pipeline(steps=(RANKED.steps[0], PluginChoice(name="lower"), *RANKED.steps[1:]))
EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "plugin_package" / "fedcore_example_plugins"

MIRROR = '''
"""The built-in plugins under other names, as a third party's."""
from fedcore.plugin_api import hookimpl
from plugins.encryption.keyed_tokens import KeyedTokens
from plugins.preprocessing.joint_vocabulary import JointVocabulary
from plugins.preprocessing.lower import Lower
from plugins.readers.labelled_lines import LabelledLines

class TheirTokens(KeyedTokens): name = "their_tokens"
class TheirVocabulary(JointVocabulary): name = "their_vocabulary"
class TheirLower(Lower): name = "their_lower"
class TheirLines(LabelledLines): name = "their_lines"

@hookimpl
def fedcore_encryption_backends(): return [TheirTokens]
@hookimpl
def fedcore_preprocessing_steps(): return [TheirVocabulary, TheirLower]
@hookimpl
def fedcore_dataset_readers(): return [TheirLines]
'''

CHECKING = """
from fedcore.plugin_api import Verdict, hookimpl

@hookimpl
def fedcore_before_release(release):
    answers = {"yes": Verdict(True), "no": Verdict(False, "not on a Friday"), "nothing": None}
    if release.dataset == "broken": raise ValueError("seven")
    if release.dataset == "tries": open("/srv/host/keys/signing.key")
    return answers.get(release.dataset)
"""

SMUGGLING = """
from fedcore.plugin_api import Matrix, Options, PreprocessingStep, Text, ValueKind, hookimpl

SEEN = []

class Before(PreprocessingStep[Options]):
    name, version, summary = "before", "1", "Remembers rows."
    takes = gives = ValueKind.TEXT
    def apply(self, value):
        SEEN.extend(value)
        return value

class After(PreprocessingStep[Options]):
    name, version, summary = "after", "1", "Lets rows out."
    takes = gives = ValueKind.MATRIX
    def apply(self, value):
        if SEEN: raise ValueError("the rows are here")
        return value

@hookimpl
def fedcore_preprocessing_steps(): return [Before, After]
"""

READING = """
from plugins.readers.labelled_lines import LabelledLines
from fedcore.plugin_api import hookimpl

class Curious(LabelledLines):
    name = "curious"
    def read(self, files, shard, labelled=True):
        (files[0].path.parent / "other.txt").read_text()
        return super().read(files, shard, labelled)

class Doubling(LabelledLines):
    name = "doubling"
    def shards(self, files, size): return super().shards(files, size) * 2

class Relabelling(LabelledLines):
    name = "relabelling"
    def records(self, lines, labelled):
        found = super().records(lines, labelled)
        found.labels[:] = 7
        return found

@hookimpl
def fedcore_dataset_readers(): return [Curious, Doubling, Relabelling]
"""

IMPORTED = "import socket\nsocket.create_connection(('127.0.0.1', 1), 1)\n" + step("on_import", "pass")

MISPLACED = """
from fedcore.plugin_api import hookimpl
from plugins.preprocessing.words import Words
class Elsewhere(Words): name = "elsewhere"
Elsewhere.__module__ = "plugins.preprocessing.words"

@hookimpl
def fedcore_preprocessing_steps(): return [Elsewhere]
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, warmed: None) -> Iterator[Path]:
    with installations(tmp_path_factory.mktemp("third-parties")) as folder:
        install(folder, "mirror", MIRROR)
        install(folder, "smuggling", SMUGGLING)
        install(folder, "reading", READING)
        install(folder, "imported", IMPORTED)
        install(folder, "misplaced", MISPLACED)
        install(folder, "misspelt", step("x", "pass").replace("fedcore_prepro", "fedcore_pre"))
        install(folder, "checking", CHECKING)
        install(folder, "fedcore-example-plugins", "")
        for source in EXAMPLE.glob("*.py"):
            (folder / "fedcore_example_plugins" / source.name).write_text(source.read_text())
        yield folder


def entry(*names: str, more: str = "") -> str:
    return "".join(f'[[plugins]]\ndistribution = "{name}"\n{more}\n' for name in names)


def settled(path: Path, *names: str, more: str = "", owners: int = 1, **settings: str) -> Cast:
    hosts = ["north", "south"][:owners]
    return Cast(path).settle_in(hosts, rows=150, plugins=entry(*names, more=more), **settings)


def theirs(pipeline: Pipeline) -> Pipeline:
    """The same pipeline with the third party's steps where there are any."""
    names = {"lower": "their_lower", "joint_vocabulary": "their_vocabulary"}
    steps = [PluginChoice(name=names.get(s.name, s.name), options=s.options) for s in pipeline.steps]
    return Pipeline(steps=tuple(steps))


def trained(cast: Cast, plan: Plan) -> Any:
    agent = cast.owners[0].agent()
    do(plan, [agent], Phase.CHECK)
    report = play(plan, agent, plan.order(Phase.TRAIN, cast.owners[0]))
    agent.close()
    assert report.status is Status.DONE, report.code
    return unpack_model(RunFolder(cast.owners[0].home.run_directory(plan.run)).model_path.read_bytes())


def test_confined_plugins_compute_what_the_same_code_in_the_host_computes(
    installed: Path, tmp_path: Path
) -> None:
    cast = settled(tmp_path, "mirror", reader="their_lines")
    own = trained(cast, cast.spec(Protocol.LOCAL, LOWERED, PLAIN))
    confined = trained(cast, cast.spec(Protocol.LOCAL, theirs(LOWERED), PLAIN))
    assert own.columns == confined.columns
    assert own.parameters.keys() == confined.parameters.keys()
    assert all((own.parameters[name] == confined.parameters[name]).all() for name in own.parameters)


@pytest.mark.parametrize("foreign", [False, True])
def test_a_run_with_an_epsilon_uses_no_steps_of_other_packages(
    installed: Path, tmp_path: Path, foreign: bool
) -> None:
    """Such a step gets all rows of a block, and could hide one row in what it makes of the others."""
    cast = settled(tmp_path, "mirror", reader="their_lines")
    steps = Pipeline(steps=(HASHED.steps[0], PluginChoice(name="lower"), *HASHED.steps[3:]))
    training = Training(optimiser=PluginChoice(name="adam", options={"lr": 0.3}), epochs=5)
    privacy = Privacy(epsilon_micro=1_000_000, delta=1e-6)
    pipeline = theirs(steps) if foreign else steps
    plan = cast.spec(Protocol.LOCAL, pipeline, PLAIN, training=training, privacy=privacy, asked=privacy)
    agent = cast.owners[0].agent()
    report = play(plan, agent, plan.order(Phase.CHECK, cast.owners[0]))
    assert report.code is (RefusalCode.EPSILON_NOT_ALLOWED if foreign else None)
    assert ("their_lower of another package could make something" in _journal(agent)) is foreign
    agent.close()


def test_a_confined_reader_gives_the_rows_that_it_gives_in_the_host(installed: Path, tmp_path: Path) -> None:
    cast = settled(tmp_path, "mirror")
    files = [SourceFile(cast.owners[0].home.path / "good.txt", "benign")]
    confined, own = (
        cast.registry.of_type(DatasetReader, name)() for name in ("their_lines", "labelled_lines")
    )  # type: ignore[type-abstract]
    shards = confined.shards(files, 2000)
    assert shards == own.shards(files, 2000)
    assert len(shards) > 2
    for shard in shards:
        ours, theirs = (next(iter(reader.read(files, shard))) for reader in (own, confined))
        assert rows_of(ours) == rows_of(theirs)
        assert ours.labels is not None
        assert theirs.labels is not None
        assert (ours.labels == theirs.labels).all()


@pytest.mark.parametrize("path", ["../north/good.txt", "by-a-link.txt"])
def test_a_confined_reader_reads_a_file_that_is_named_in_a_roundabout_way(
    installed: Path, tmp_path: Path, path: str
) -> None:
    cast = settled(tmp_path, "mirror", reader="their_lines")
    north = cast.owners[0]
    (north.home.path / "by-a-link.txt").symlink_to("good.txt")
    policy = north.home.config_path
    policy.write_text(policy.read_text().replace('path = "good.txt"', f'path = "{path}"'))
    north.policy = north.home.load_config()
    assert Datasets(north.home, north.policy, cast.registry).look("logs").rows == 225


def test_the_example_package_trains_and_is_evaluated(installed: Path, tmp_path: Path) -> None:
    first, *others = RANKED.steps
    steps = Pipeline(steps=(first, PluginChoice(name="length_bucket"), *others))
    cast = settled(tmp_path, "fedcore-example-plugins", models='["logistic_regression"]')
    plan = cast.spec(Protocol.LOCAL, steps, PLAIN, model=PluginChoice(name="logistic_regression"))
    trained(cast, plan)
    agent = cast.owners[0].agent()
    report = play(plan, agent, plan.order(Phase.EVALUATE, cast.owners[0]))
    agent.close()
    assert report.status is Status.DONE


def test_a_stand_in_has_the_pin_that_the_plugin_itself_has(installed: Path, tmp_path: Path) -> None:
    cast = settled(tmp_path, "fedcore-example-plugins")
    here = Registry.of_distributions([AllowedDistribution("fedcore-example-plugins")])
    for group, name in (("preprocessing", "length_bucket"), ("models", "logistic_regression")):
        assert issubclass(cast.registry.get(group, name), ConfinedPlugin)
        assert cast.registry.pin(group, name) == here.pin(group, name)


def test_wrong_options_of_a_confined_plugin_are_told_all_at_once(installed: Path, tmp_path: Path) -> None:
    step = settled(tmp_path, "fedcore-example-plugins").registry.get("preprocessing", "length_bucket")
    assert step({"width": 8}).options.model_dump() == {"width": 8, "buckets": 16}
    with pytest.raises(InvalidOptions) as caught:
        step({"width": 0, "no_such": 1})
    assert set(caught.value.problems) == {"width", "no_such"}


def pooled(cast: Cast) -> tuple[Plan, list[Agent]]:
    plan = cast.spec(Protocol.POOLED, theirs(LOWERED), PluginChoice(name="their_tokens"))
    return plan, [owner.agent() for owner in cast.owners]


def test_a_backend_of_a_third_party_gets_the_key_only_where_the_policy_says_so(
    installed: Path, tmp_path: Path
) -> None:
    backends = '["their_tokens"]'
    cast = settled(tmp_path / "a", "mirror", owners=2, backends=backends)
    plan, agents = pooled(cast)
    report = play(plan, agents[0], plan.order(Phase.CHECK, cast.owners[0]))
    assert (report.status, report.code) == (Status.REFUSED, RefusalCode.PLUGIN_CONFINED)
    assert "Set holds_keys = true" in _journal(agents[0])
    trusting = settled(tmp_path / "b", "mirror", more="holds_keys = true", owners=2, backends=backends)
    plan, agents = pooled(trusting)
    agree(plan, agents)
    do(plan, agents, Phase.SUMMARISE, step=4, evidence=plan.said(Phase.CONFIRM))
    do(plan, agents, Phase.SETTLE, step=4, evidence=plan.said(Phase.SUMMARISE, 4))
    do(plan, agents, Phase.PREPARE, evidence=plan.said(Phase.SETTLE, 4))
    assert len(plan.pooled_rows().labels) > 100


def test_a_backend_without_leave_is_not_handed_a_key_even_if_it_is_called(
    installed: Path, tmp_path: Path
) -> None:
    from fedcore.owner.confined.calling import PluginStopped
    from fedcore.plugin_api import Text, Tokens
    from fedcore.plugin_api.rows import values_like
    from fedcore.plugin_api.values import ValueKind

    backend: Any = settled(tmp_path, "mirror").registry.get("encryption", "their_tokens")
    tokens = values_like(ValueKind.TOKENS, [(b"a", b"b")])
    assert isinstance(tokens, Tokens)
    assert isinstance(tokens.spellings, Text)
    with pytest.raises(PluginStopped, match="needs the run's key"):
        backend().protect(tokens, bytes(32))


def test_a_step_before_the_protection_shares_no_memory_with_one_after_it(
    installed: Path, tmp_path: Path
) -> None:
    first, *others = RANKED.steps
    steps = Pipeline(steps=(first, PluginChoice(name="before"), *others, PluginChoice(name="after")))
    cast = settled(tmp_path, "smuggling")
    assert trained(cast, cast.spec(Protocol.LOCAL, steps, PLAIN)).columns > 1


@pytest.mark.parametrize(
    ("reader", "said"),
    [
        ("curious", "/other.txt"),
        ("doubling", "shards that overlap"),
        ("relabelling", "labels lie outside 0..1"),
    ],
)
def test_a_reader_reads_its_dataset_and_nothing_else_and_gives_what_it_declares(
    installed: Path, tmp_path: Path, reader: str, said: str
) -> None:
    cast = Cast(tmp_path)
    owner = cast.settle_in(["north"], rows=20, plugins=entry("reading"), reader=reader).owners[0]
    (owner.home.path / "other.txt").write_text("another dataset")
    datasets = Datasets(owner.home, owner.policy, allowed_registry(owner.policy, owner.home.path))
    with pytest.raises(DatasetProblem, match=said) as caught:
        datasets.look("logs")
    assert caught.value.code is RefusalCode.PLUGIN_CONFINED
    assert f"readers/{reader} of distribution reading" in str(caught.value)


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ("yes", None),
        ("no", "refuses: not on a Friday."),
        ("nothing", "gave no verdict"),
        ("broken", "ValueError: seven"),
        ("tries", "tried to open"),
    ],
)
def test_an_owners_own_check_of_releases_is_asked_in_a_process_of_its_own(
    installed: Path, tmp_path: Path, dataset: str, said: str | None
) -> None:
    registry = settled(tmp_path, "checking").registry
    release = Release("ab" * 32, Phase.PREPARE, dataset, "sam", 300, ())
    decision = ask_all(registry, release)
    if said is None:
        assert isinstance(decision, Allowed)
    else:
        assert isinstance(decision, Refused)
        assert decision.code is RefusalCode.RELEASE_REFUSED
        assert said in decision.why
        assert "checking" in decision.why


def test_a_package_that_tries_something_when_it_is_loaded_is_left_out_and_runs_that_need_it_are_refused(
    installed: Path, tmp_path: Path
) -> None:
    cast = settled(tmp_path, "imported", more="checks_releases = false")
    assert "tried to use the network" in cast.registry.not_loaded[0]
    assert trained(cast, cast.spec(Protocol.LOCAL, RANKED, PLAIN)), "other runs go on"
    first, *others = RANKED.steps
    steps = Pipeline(steps=(first, PluginChoice(name="on_import"), *others))
    plan, agent = cast.spec(Protocol.LOCAL, steps, PLAIN), cast.owners[0].agent()
    owner = cast.owners[0]
    order = cast.coordinator.order(plan.signed, Phase.CHECK, owner.key, grant=plan.grants[owner.key])
    report = play(plan, agent, order)
    assert (report.status, report.code) == (Status.REFUSED, RefusalCode.PLUGIN_CONFINED)
    assert "distribution imported tried to use the network" in _journal(agent)
    agent.close()


@pytest.mark.parametrize(
    ("name", "said"),
    [("misplaced", "is not in a file of its distribution"), ("misspelt", "correct the name")],
)
def test_a_package_that_is_wrong_in_itself_is_an_error(
    installed: Path, tmp_path: Path, name: str, said: str
) -> None:
    with pytest.raises(PluginError, match=said):
        settled(tmp_path, name).registry.names("models")


def test_a_package_with_other_files_than_the_pinned_ones_is_not_loaded(
    installed: Path, tmp_path: Path
) -> None:
    with pytest.raises(PluginError, match="Compare the installation"):
        settled(tmp_path, "mirror", more=f'digest = "{"0" * 64}"').registry.names("models")


def _journal(agent: Agent) -> str:
    return " ".join(str(json.loads(entry.content).get("why")) for entry in agent.journal.entries())


def test_the_check_tells_what_is_not_loaded_not_pinned_and_trusted_with_keys(
    installed: Path, tmp_path: Path
) -> None:
    more = "holds_keys = true"
    cast = settled(tmp_path, "imported", "mirror", more=more, worker="unconfined_plugins = true")
    owner = cast.owners[0]
    problems = [str(problem) for problem in check_host(owner.home, owner.policy)]
    assert any("distribution imported tried to use the network" in problem for problem in problems)
    told = " ".join(remarks(cast.registry, owner.policy))
    digest = distribution_digest(installed_distribution("mirror"))
    assert (
        f'[[plugins]] 3: mirror is not pinned: whatever is installed under this name runs. Add digest = "{digest}"'
        in told
    )
    assert "[[plugins]] 3: mirror gets the runs' keys" in told
    assert "[worker] unconfined_plugins" in told
    pinned = settled(tmp_path / "b", "mirror", more=f'digest = "{digest}"')
    assert "not pinned" not in " ".join(remarks(pinned.registry, pinned.owners[0].policy))
