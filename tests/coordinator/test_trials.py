"""The trials of a dry run: every preset passes on the mock sample of every reader, and what does not pass is told."""

from __future__ import annotations

from typing import Any

import pytest

from fedcore.coordinator.governance import trials as module
from fedcore.coordinator.governance.trials import trials
from fedcore.owner import mocks
from fedcore.plugin_api.registry import AllowedDistribution, Registry
from fedcore.wire import presets
from fedcore.wire.catalogue import MockSample
from fedcore.wire.dry_runs import MAXIMUM_TRIALS, DryRunPlan, Trial
from fedcore.wire.keys import SigningKey
from fedcore.wire.presets import Preset
from fedcore.wire.spec import DatasetVersion, Pipeline, PluginChoice, Training

REGISTRY = Registry.of_distributions([AllowedDistribution("fedcore")])
COLUMNS = {
    "labelled_lines": ("request",),
    "apache_combined": ("target", "agent"),
    "apache_common": ("method", "target"),
}
PRESETS = ("words_4096", "char_ngrams_4096", "reference_2021_sequence", "reference_2021_features")
BACKENDS = tuple(PluginChoice(name=name) for name in ("plaintext", "keyed_tokens"))


def sample_of(reader: str) -> MockSample:
    kind: Any = REGISTRY.get("readers", reader)
    content = mocks.generated(kind())
    assert content is not None
    return MockSample.parse(content)


def plan_of(preset: Preset, datasets: int = 1, **changes: Any) -> DryRunPlan:
    versions = [
        DatasetVersion(host=SigningKey.generate().public, name="logs", version="0" * 64)
        for _ in range(datasets)
    ]
    facts: dict[str, Any] = {
        "datasets": tuple(versions),
        "pipelines": (preset.pipeline,),
        "backends": BACKENDS,
        "models": (preset.model,),
        "training": preset.training,
    }
    return DryRunPlan(**facts | changes)


def tried(plan: DryRunPlan, reader: str = "labelled_lines") -> list[Trial]:
    return list(trials(REGISTRY, plan, [sample_of(reader)] * len(plan.datasets)))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("reader", COLUMNS)
def test_every_preset_passes_on_every_mock_sample(reader: str, preset: str) -> None:
    plan = plan_of(getattr(presets, preset)(COLUMNS[reader]))
    plain, keyed = tried(plan, reader)
    for trial in (plain, keyed):
        assert trial.problem == ""
        assert trial.passes
        assert trial.rows == len(sample_of(reader).labels)
        assert trial.feature_bytes > 0
        assert trial.plaintext_bytes > 0
        assert set(trial.seconds) == {"prepare", "train"}
    assert (plain.kind, plain.columns) == (keyed.kind, keyed.columns)


@pytest.mark.parametrize("reader", COLUMNS)
def test_a_model_learns_something_from_every_mock_sample(reader: str) -> None:
    (trial,) = tried(plan_of(presets.words_4096(COLUMNS[reader]), backends=BACKENDS[1:]), reader)
    assert trial.accuracy is not None
    assert trial.majority_accuracy is not None
    assert trial.accuracy > trial.majority_accuracy + 0.1


def test_the_samples_of_several_owners_are_fitted_together() -> None:
    preset = presets.reference_2021_sequence()
    (alone,) = tried(plan_of(preset, backends=BACKENDS[1:]))
    (together,) = tried(plan_of(preset, datasets=2, backends=BACKENDS[1:]))
    assert together.passes
    assert together.rows == 2 * alone.rows


def test_what_does_not_fit_is_told_and_the_other_trials_go_on() -> None:
    preset = presets.words_4096()
    wrong = Pipeline(steps=presets.words_4096(("nothing",)).pipeline.steps)
    found = tried(
        plan_of(
            preset,
            pipelines=(wrong, preset.pipeline),
            backends=(*BACKENDS[1:], PluginChoice(name="other")),
            models=(PluginChoice(name="linear"), PluginChoice(name="linear", options={"activation": "x"})),
        )
    )
    assert [trial.passes for trial in found] == [False] * 4 + [True, False, False, False]
    assert "nothing" in found[0].problem
    assert "activation" in found[5].problem
    assert "no encryption plugin 'other'" in found[6].problem
    assert {trial.problem for trial in found if trial.passes} == {""}


def test_a_model_that_takes_other_features_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = REGISTRY.get("models", "linear")
    monkeypatch.setattr(model, "takes", frozenset({"sequence"}))
    (trial, _) = tried(plan_of(presets.words_4096()))
    assert trial.problem == "The pipeline ends in a matrix, but model linear takes a sequence."
    assert trial.columns == 4096


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), "more memory than a dry run may use"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "more memory than a dry run may use"),
        (KeyError("x" * 900), "KeyError: 'x"),
    ],
)
def test_whatever_a_plugin_raises_is_the_problem_of_its_trial(
    monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    def fail(*arguments: Any) -> Any:
        raise error

    monkeypatch.setattr(module, "_features", fail)
    for trial in tried(plan_of(presets.words_4096())):
        assert not trial.passes
        assert told in trial.problem
        assert len(trial.problem) <= 500


def test_a_training_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = REGISTRY.get("models", "linear")
    epochs = []
    train = model.train

    def watched(self: Any, parameters: Any, rows: Any, classes: int, training: Training, *more: Any) -> Any:
        epochs.append(training.epochs)
        return train(self, parameters, rows, classes, training, *more)

    monkeypatch.setattr(model, "train", watched)
    tried(plan_of(presets.words_4096(), backends=BACKENDS[:1], training=Training(epochs=10_000)))
    assert epochs == [module.MAXIMUM_EPOCHS]


def test_only_so_many_combinations_are_tried() -> None:
    models = tuple(PluginChoice(name="linear") for _ in range(16))
    plan = plan_of(presets.words_4096(), models=models, training=Training(epochs=1))
    assert len(plan.combinations) == 32
    assert len(tried(plan)) == MAXIMUM_TRIALS


def test_every_trial_has_a_key_of_its_own_that_it_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    keys: list[bytes] = []
    urandom = module.os.urandom
    monkeypatch.setattr(module.os, "urandom", lambda size: keys.append(urandom(size)) or keys[-1])
    (first,) = tried(plan_of(presets.words_4096(), backends=BACKENDS[1:]))
    (second,) = tried(plan_of(presets.words_4096(), backends=BACKENDS[1:]))
    assert len(set(keys)) == 2
    assert not any(key.hex() in trial.encode() for key in keys for trial in (first, second))
