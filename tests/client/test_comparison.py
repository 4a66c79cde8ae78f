from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fedcore.client import Comparison, FedcoreError
from fedcore.client.comparison import exposure_of, read_audit
from fedcore.client.report_page import write_page
from fedcore.plugin_api.attacks.figures import AttackFigure, PrivacyAudit

Reports = list[dict[str, Any]]


def shown(comparison: Comparison) -> str:
    console = Console(file=io.StringIO(), width=100)
    comparison.show(console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text


def test_the_difference_to_the_reference_has_the_sign_of_a_loss(reports: Reports) -> None:
    [(name, difference)] = Comparison(reports).differences().items()
    assert name == "pooled (keyed_tokens)"
    assert difference["f1"] == pytest.approx(-0.003)


def test_joint_models_stand_apart_from_what_each_owner_reaches_alone(reports: Reports) -> None:
    comparison = Comparison(reports)
    assert [line.name for line in comparison.joint_lines()] == [
        "reference (plaintext)",
        "pooled (keyed_tokens)",
    ]
    assert [(line.tested_on, line.name) for line in comparison.owner_lines()][:3] == [
        ("north", "own rows alone"),
        ("north", "reference (plaintext)"),
        ("north", "pooled (keyed_tokens)"),
    ]


def test_the_majority_class_is_always_beside_the_models(reports: Reports) -> None:
    text = shown(Comparison(reports))
    assert "always the majority class" in text
    assert "0.9600" in text


def test_the_tables_fit_into_80_columns(reports: Reports) -> None:
    for report in reports:
        for owner, name in zip(report["owners"], ("north-hospital", "south-bank"), strict=True):
            owner["host_name"] = name
    console = Console(file=io.StringIO(), width=80)
    Comparison(reports).show(console)
    assert "…" not in console.file.getvalue()  # type: ignore[attr-defined]


def test_pseudonymised_rows_are_never_called_encrypted(reports: Reports) -> None:
    learns, readers = exposure_of(reports[2])
    assert "pseudonymised, not encrypted" in learns
    assert "which tokens are equal" in learns
    assert "test guesses" in readers


def test_without_exposures_the_tables_stand_alone(reports: Reports) -> None:
    console = Console(file=io.StringIO(), width=80)
    Comparison(reports).show(console, exposures=False)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "less the reference" in text
    assert "who could read rows" in shown(Comparison(reports))
    assert "who could read rows" not in text


def test_how_far_a_model_is_from_the_reference_stands_right_below_it(reports: Reports) -> None:
    lines = [line.split()[:1] for line in shown(Comparison(reports)).splitlines()]
    assert lines[lines.index(["less"]) - 1] == ["pooled"]
    other = {**reports[2], "run": "0" * 32}
    names = [line.split() for line in shown(Comparison([*reports, other])).splitlines()]
    below = [names[number - 1][0] for number, words in enumerate(names) if words[:1] == ["less"]]
    assert below == ["pooled", "pooled"]


def test_a_local_run_shows_metrics_only(reports: Reports) -> None:
    assert exposure_of(reports[0]) == ("Nothing but metrics leaves an owner.", "Nobody but the owner.")


def test_a_local_run_with_an_epsilon_shows_what_it_has_spent(reports: Reports, tmp_path: Path) -> None:
    spent = {"epsilon": 1.25, "delta": 1e-6, "mechanisms": ["noise"]}
    reports[0]["privacy"] = spent
    for owner in reports[0]["owners"]:
        owner |= {"privacy": spent, "rows_trained": 0}
    assert exposure_of(reports[0])[0] == (
        "Nothing but noisy counts leaves an owner: of any one row they tell what epsilon 1.25 allows (delta 1e-06)."
    )
    assert "1.25" in shown(Comparison(reports))
    page = write_page(Comparison(reports), tmp_path / "page.html").read_text()
    assert page.count("<td class=number>1.25</td>") == 2
    assert page.count("<td class=number>–</td>") >= 2


def test_the_reference_says_who_sees_plaintext(reports: Reports) -> None:
    assert "reference host sees, as plaintext" in exposure_of(reports[1])[0]


def test_a_run_without_a_reference_has_no_differences(reports: Reports) -> None:
    assert Comparison(reports[2:]).differences() == {}


def test_an_owner_without_held_out_rows_is_left_out(reports: Reports, tmp_path: Path) -> None:
    for report in reports:
        report["owners"][0]["metrics"] = None
    comparison = Comparison(reports)
    assert {line.tested_on for line in comparison.owner_lines()} == {"south"}
    assert write_page(comparison, tmp_path / "page.html").exists()


def test_figures_that_do_not_exist_are_dashes(reports: Reports) -> None:
    reports[2]["metrics"]["roc_auc"] = None
    comparison = Comparison(reports)
    assert "roc_auc" not in comparison.differences()["pooled (keyed_tokens)"]
    assert "–" in shown(comparison)


def test_two_runs_of_one_kind_are_told_apart_by_their_ids(reports: Reports) -> None:
    comparison = Comparison([*reports, reports[2] | {"run": "7" * 64}])
    assert set(comparison.differences()) == {"pooled (keyed_tokens) 333333", "pooled (keyed_tokens) 777777"}


def test_only_local_runs_can_be_shown_too(reports: Reports, tmp_path: Path) -> None:
    comparison = Comparison(reports[:1])
    assert "own rows alone" in shown(comparison)
    assert "majority class" in write_page(comparison, tmp_path / "page.html").read_text()


def test_the_page_has_all_plots_and_asks_nobody_for_anything(reports: Reports, tmp_path: Path) -> None:
    page = write_page(Comparison(reports), tmp_path / "page.html", "Runs").read_text()
    for plot in (
        "Training loss",
        "Training accuracy",
        "ROC",
        "Precision and recall",
        "Confusion matrix, pooled",
    ):
        assert f"alt='{plot}" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_texts_of_others_are_escaped_in_the_page(reports: Reports, tmp_path: Path) -> None:
    reports[2]["title"] = "<script>alert(1)</script>"
    reports[2]["owners"][0]["host_name"] = "<img src=x onerror=alert(1)>"
    page = write_page(Comparison(reports), tmp_path / "page.html").read_text()
    assert "<script>" not in page
    assert "<img src=x" not in page


@pytest.mark.browser
def test_the_page_fits_its_window_and_has_no_broken_pictures(reports: Reports, tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = Path("/usr/bin/chromium")
    if not chromium.exists():
        pytest.skip("Chromium is not installed.")
    page_file = write_page(Comparison(reports), tmp_path / "page.html", "Runs")
    with playwright.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=str(chromium), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto(page_file.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        assert all(url.startswith(("file:", "data:")) for url in requests)
        browser.close()


def audit() -> PrivacyAudit:
    figure = AttackFigure(
        "frequency", "tokens named", 0.69, 0.96, 0.05, 1000, "Share of tokens that were named."
    )
    return PrivacyAudit("access-log", 3000, "words", "keyed_tokens", {"minimum_count": 5}, (figure,))


def test_what_owners_attacks_found_stands_beside_the_control(reports: Reports, tmp_path: Path) -> None:
    comparison = Comparison(reports, [audit()])
    text = shown(comparison)
    assert "What attacks find out: keyed_tokens (minimum_count 5), words" in text
    assert all(number in text for number in ("0.69", "0.96", "0.05"))
    page = write_page(comparison, tmp_path / "page.html").read_text()
    assert "<h2>What attacks find out</h2>" in page
    assert "0.69" in page
    assert "What attacks find out" not in write_page(Comparison(reports), tmp_path / "page.html").read_text()


def test_an_audit_with_long_names_fits_into_80_columns(reports: Reports) -> None:
    figure = AttackFigure(
        "membership inference",
        "typical tokens read from the weights",
        0.72,
        0.56,
        0.08,
        50,
        "What is typical.",
    )
    found = PrivacyAudit("access-log", 3000, "words", "keyed_tokens", {}, (figure,))
    console = Console(file=io.StringIO(), width=80)
    Comparison(reports, [found]).show(console, exposures=False)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in text
    assert all(word in text for word in ("unprotected", "guessing", "0.72", "0.56", "0.08"))


def test_an_audit_is_read_from_what_the_owners_command_prints(tmp_path: Path) -> None:
    path = tmp_path / "audit.json"
    path.write_text(json.dumps(audit().to_json()))
    assert read_audit(path) == audit()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": 2}', '{"version": 1, "figures": [{}]}'])
def test_a_file_that_is_no_audit_is_refused_with_what_makes_one(tmp_path: Path, content: str) -> None:
    path = tmp_path / "audit.json"
    path.write_text(content)
    with pytest.raises(FedcoreError, match="fedcore-owner attack DATASET --json"):
        read_audit(path)
    with pytest.raises(FedcoreError, match="is no privacy audit"):
        read_audit(tmp_path / "missing.json")


def test_what_a_run_on_shares_shows_is_said_in_words(reports: Reports) -> None:
    backend = {
        "name": "secret_sharing",
        "pseudonymised": False,
        "leakage": ["how many numbers there are"],
        "trust": ["A."],
    }
    learns, readers = exposure_of(reports[2] | {"protocol": "shared", "backend": backend})
    assert learns.startswith("Two compute owners and a dealer see uniformly random numbers")
    assert learns.endswith("Visible: how many numbers there are.")
    assert readers == "A."
