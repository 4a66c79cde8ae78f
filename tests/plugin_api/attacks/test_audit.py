"""An audit: all attacks on one dataset, each beside its control, and the figures as data."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from fedcore.plugin_api.attacks import AttackFigure, PrivacyAudit
from fedcore.plugin_api.attacks.audit import audit
from fedcore.plugin_api.attacks.stage import Attacked, Stage, Unattackable
from fedcore.plugin_api.values import Records, Text
from fedcore.wire.presets import char_ngrams_4096, reference_2021_sequence, words_4096
from fedcore.wire.spec import PluginChoice
from tests.plugin_api.attacks.stages import REGISTRY, records

COLUMNS = ("user", "time", "target")
ROWS = 1200
FIGURE = AttackFigure("linkage", "rows found", 0.25, 0.9, 0.01, 200, "how often", {"other": 0.5})


@pytest.fixture(autouse=True)
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def attacked(pipeline: str = "words", **options: int) -> Attacked:
    preset = (words_4096 if pipeline == "words" else char_ngrams_4096)(COLUMNS)
    backend = PluginChoice(name="keyed_tokens", options={**options})
    return Attacked(REGISTRY, preset.pipeline, backend, preset.model, preset.training, ("user",), "time")


def figures(found: PrivacyAudit) -> dict[str, AttackFigure]:
    return {figure.figure: figure for figure in found.figures}


def test_every_attack_has_its_figure_its_control_and_the_words_that_explain_it() -> None:
    told: list[str] = []
    found = audit(attacked(), "logs", records(ROWS, 1), told.append)
    assert (found.dataset, found.rows, found.backend) == ("logs", ROWS, "keyed_tokens")
    assert found.pipeline == "fields > lower > words > protect > hash_columns"
    assert list(figures(found)) == [
        "tokens named",
        "distinct tokens named",
        "rows found by user, date and hour",
        "rows recognised by size",
        "area under the curve",
        "typical tokens read from the weights",
    ]
    assert len(told) == 5
    for figure in found.figures:
        assert figure.works, figure
        assert figure.found <= figure.control
        assert figure.control >= (0.8 if figure.chance == 0.5 else 0.6)
        assert figure.meaning


def test_unprotected_rows_fare_as_their_control() -> None:
    plain = replace(attacked(), backend=PluginChoice(name="plaintext"))
    found = figures(audit(plain, "logs", records(ROWS, 1), lambda told: None))
    for name in ("tokens named", "distinct tokens named", "rows found by user, date and hour"):
        assert found[name].found == pytest.approx(found[name].control)


def test_the_attacker_knows_the_rule_on_rare_tokens() -> None:
    stage = Stage(attacked(minimum_count=20), records(ROWS, 1))
    assert len(stage.expected.ids) < len(stage.known.ids)
    assert stage.meant(stage.plain) is stage.known
    assert stage.meant(stage.shown) is stage.expected
    merged = np.bincount(stage.shown.rows.codes).max()
    assert (
        stage.shown.named[np.bincount(stage.shown.rows.codes).argmax()]
        == np.bincount(stage.expected.codes).argmax()
    )
    assert merged > ROWS / 2


def test_the_half_that_is_attacked_is_not_the_half_that_the_attacker_knows() -> None:
    texts = Text.from_rows([b"row%d" % number for number in range(ROWS)])
    of = Records({"target": texts, "user": texts, "time": texts}, np.arange(ROWS) % 2)
    stage = Stage(attacked(), of)
    assert len(stage.records) == len(stage.known) == ROWS // 2
    assert not np.isin(stage.plain.rows.ids, stage.known.ids).any()


def test_where_no_column_says_who_some_tokens_are_known() -> None:
    found = audit(replace(attacked(), person=()), "logs", records(ROWS, 1), lambda told: None)
    assert figures(found)["rows found by 5 tokens"].works


def test_sequences_have_no_columns_to_invert_and_show_their_order() -> None:
    preset = reference_2021_sequence(COLUMNS)
    sequences = replace(attacked(), pipeline=preset.pipeline)
    found = audit(sequences, "logs", records(ROWS, 1), lambda told: None)
    assert "typical tokens read from the weights" not in figures(found)
    assert Stage(sequences, records(ROWS, 1)).ordered
    assert not Stage(attacked(), records(ROWS, 1)).ordered


@pytest.mark.parametrize(
    ("of", "why"),
    [
        (Records(records(ROWS, 1).columns), "no labels"),
        (
            Records(records(ROWS, 1).columns, np.zeros(ROWS, np.int64)),
            "all rows that were read are of one class",
        ),
        (records(ROWS, 1).take(np.arange(199)), "There are 199 rows; the attacks need 200"),
    ],
)
def test_rows_on_which_attacks_say_nothing_are_refused(of: Records, why: str) -> None:
    with pytest.raises(Unattackable, match=f"(?i){why}"):
        audit(attacked(), "logs", of, lambda told: None)


def test_figures_survive_the_way_through_json() -> None:
    found = PrivacyAudit("logs", 10, "words", "keyed_tokens", {"minimum_count": 5}, (FIGURE,))
    assert PrivacyAudit.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"version": 2}, "has version 1, not 2"),
        ({"figures": [{}]}, "no privacy audit"),
        ({"more": 1}, "more"),
    ],
)
def test_json_of_another_form_is_refused(change: dict[str, object], why: str) -> None:
    values = PrivacyAudit("logs", 10, "words", "keyed_tokens", {}, (FIGURE,)).to_json()
    with pytest.raises(ValueError, match=why):
        PrivacyAudit.from_json({**values, **change})
    with pytest.raises(ValueError, match="no privacy audit"):
        PrivacyAudit.from_json({"version": 1})


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["found", "control", "chance"])
def test_a_share_that_is_none_is_refused(name: str, wrong: float) -> None:
    with pytest.raises(ValueError, match=f"{name} is a share from 0 to 1"):
        replace(FIGURE, **{name: wrong})  # type: ignore[arg-type]


def test_an_attack_that_fails_on_its_control_shows_nothing() -> None:
    assert FIGURE.works
    assert not replace(FIGURE, control=0.2).works
    assert not replace(FIGURE, chance=0.7).works
