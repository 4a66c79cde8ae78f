"""What is wrong with a host beyond the form of its `owner.toml`: plugins, datasets, peers, journal."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any, Final

from fedcore.owner.ceilings import Ceilings
from fedcore.owner.config import Config, Dataset
from fedcore.owner.config_problems import Problem
from fedcore.owner.datasets import DatasetProblem, Datasets
from fedcore.owner.home import Home, HomeError
from fedcore.owner.installed import allowed_registry
from fedcore.owner.journal import Journal, JournalError
from fedcore.owner.ledger import LedgerError, open_ledger
from fedcore.owner.mocks import MockProblem
from fedcore.plugin_api.backends import LEAK_TEXTS, BackendStatus, EncryptionBackend, Leak
from fedcore.plugin_api.footprint import distribution_digest
from fedcore.plugin_api.registry import (
    BUILT_IN,
    PluginError,
    Registry,
    installed_distribution,
)


def check_host(home: Home, policy: Config) -> list[Problem]:
    """Every problem of a host whose policy is valid. Reads the datasets that changed since they were last read."""
    return list(_problems(home, policy))


def remarks(registry: Registry, policy: Config) -> list[str]:
    """What an owner should know of what the policy allows, in plain words."""
    offers = [
        f"[datasets.{name}] {remark}"
        for name, offer in policy.datasets.items()
        for remark in _remarks(registry, offer)
    ]
    return [*_plugin_remarks(policy), *offers, *_shared_files(policy)]


def what_it_shows(backend: type[EncryptionBackend[Any]]) -> str:
    """What a backend shows of the rows that it protects, by its own declaration."""
    shown = "; ".join(LEAK_TEXTS[leak] for leak in sorted(backend.leakage))
    word = "pseudonymises (it encrypts nothing) and shows" if backend.renames_only else "shows"
    teaching = "is for teaching only and " * (backend.status is BackendStatus.TEACHING)
    return f"{teaching}{word}: {shown}"


def _problems(home: Home, policy: Config) -> Iterator[Problem]:
    try:
        registry = allowed_registry(policy, home.path)
    except PluginError as error:
        yield Problem(
            "[[plugins]]", str(error).rstrip("."), "Until then no plugin is loaded and nothing runs"
        )
        return
    for why in registry.not_loaded:
        yield Problem("[[plugins]]", why.rstrip("."), _without(why in registry.unasked))
    yield from _identity_problems(home, policy)
    datasets = Datasets(home, policy, registry)
    for name, offer in policy.datasets.items():
        yield from _missing_plugins(registry, name, offer)
        yield from _vain_ceilings(name, offer)
        try:
            datasets.look(name)
        except DatasetProblem as problem:
            yield Problem(f"[datasets.{name}]", problem.detail.rstrip("."), "Until then it is not offered")
        else:
            yield from _catalogue_problems(datasets, name)
    yield from _journal_problems(home)
    yield from _ledger_problems(home, policy)


def _without(may_check: bool) -> str:
    """What a host does without that could not load a distribution."""
    if not may_check:
        return "Its plugins are not loaded; runs that need them are refused"
    return (
        "It may check releases, so nothing is released until it can be loaded, or its entry says "
        "checks_releases = false"
    )


def _ledger_problems(home: Home, policy: Config) -> Iterator[Problem]:
    try:
        home.counter_path(policy.ledger)
        if home.ledger_path.exists():
            with open_ledger(home) as ledger:
                held = ledger.held()
            if held is not None:
                yield Problem("ledger", f"it is held: {held.rstrip('.')}", "See `fedcore-owner ledger show`")
    except (HomeError, LedgerError) as error:
        yield Problem("[ledger]", str(error).rstrip("."), "Nothing leaves this host until then")
    if policy.ledger.receipts == "required" and not policy.peers:
        yield Problem(
            "[ledger] receipts", "they are required, and there are no peers", "Pin a peer that gives them"
        )


def _identity_problems(home: Home, policy: Config) -> Iterator[Problem]:
    if policy.peer(home.card.signing) is not None:
        yield Problem("[[peers]]", "one entry is this host itself", "Remove it; a host is not its own peer")
    if policy.coordinator.key == home.card.signing:
        yield Problem("[coordinator] key", "it is this host's own key", "Pin the coordinator's key")


def _missing_plugins(registry: Registry, name: str, offer: Dataset) -> Iterator[Problem]:
    wanted = {
        "backends": ("encryption", offer.backends),
        "models": ("models", offer.models),
        "character_steps": ("preprocessing", offer.character_steps),
        "teaching_backends": ("encryption", offer.teaching_backends),
    }
    for setting, (group, names) in wanted.items():
        for missing in sorted(set(names) - set(registry.names(group))):
            known = ", ".join(registry.names(group)) or "none"
            yield Problem(
                f"[datasets.{name}] {setting}",
                f"there is no {group} plugin {missing!r} here (there are: {known})",
                "Correct the name, or allow the package that has it under [[plugins]]",
            )


def _catalogue_problems(datasets: Datasets, name: str) -> Iterator[Problem]:
    dataset, place = datasets.open(name), f"[datasets.{name}.catalogue]"
    known = dataset.reader.columns
    for column in sorted(set(dataset.offer.catalogue.columns) - set(known)):
        yield Problem(
            f"{place} columns",
            f"the reader {dataset.offer.reader} has no column {column!r} (it has: {', '.join(known)})",
            "Correct the name; until then the note is not shown",
        )
    try:
        datasets.mock(name)
    except MockProblem as problem:
        yield Problem(f"{place} mock", str(problem).rstrip("."), "Until then there is no mock sample")


def _vain_ceilings(name: str, offer: Dataset) -> Iterator[Problem]:
    """Ceilings that go beyond the dataset's own settings: whoever wrote them expects more than can happen."""
    ceilings = offer.ceilings
    for setting in ("purposes", "protocols", "backends", "models", "character_steps"):
        vain = [value for value in getattr(ceilings, setting) if value not in getattr(offer, setting)]
        if vain:
            yield _vain(name, setting, ", ".join(vain))
    if ceilings.releases > offer.releases:
        yield _vain(name, "releases", str(ceilings.releases))
    if ceilings.download and not offer.download:
        yield _vain(name, "download", "true")
    if offer.epsilon != "none" and (ceilings.epsilon == "none" or ceilings.epsilon > offer.epsilon):
        yield _vain(name, "epsilon", str(ceilings.epsilon))


def _vain(name: str, setting: str, value: str) -> Problem:
    return Problem(
        f"[datasets.{name}.ceilings] {setting}",
        f"{value} goes beyond [datasets.{name}] {setting}, which is the absolute limit",
        "Lower the ceiling, or allow it for the dataset itself",
    )


def _journal_problems(home: Home) -> Iterator[Problem]:
    if not home.journal_path.exists():
        return
    try:
        with Journal(home.journal_path) as journal:
            journal.verify()
    except JournalError as error:
        yield Problem("journal", str(error).rstrip("."), "Nothing leaves this host until then")


def _plugin_remarks(policy: Config) -> Iterator[str]:
    for number, allowed in enumerate(policy.plugins, start=1):
        if allowed.distribution.lower() == BUILT_IN:
            continue
        place = f"[[plugins]] {number}: {allowed.distribution}"
        if allowed.digest is None:
            digest = distribution_digest(installed_distribution(allowed.distribution))
            yield (
                f'{place} is not pinned: whatever is installed under this name runs. Add digest = "{digest}" once you '
                "have compared the installation with the release that you mean."
            )
        if allowed.holds_keys:
            yield f"{place} gets the runs' keys: with a key it can rename any token, and could give it away."
    if policy.worker.unconfined_plugins:
        yield (
            "[worker] unconfined_plugins lets plugins of other packages run where the kernel cannot confine them: such "
            "a plugin can read every file of this host's user and use the network."
        )


_HARDLY_ANY_NOISE: Final = 10
"""The epsilon from which counts under discrete Laplace noise are nearly always exact."""


def _shared_files(policy: Config) -> Iterator[str]:
    """A budget belongs to a dataset, so rows that two of them offer have two budgets."""
    for first, second in combinations(policy.datasets, 2):
        files = [{str(Path(file.path)) for file in policy.datasets[name].files} for name in (first, second)]
        if shared := sorted(files[0] & files[1]):
            yield (
                f"[datasets.{first}] and [datasets.{second}] both offer {', '.join(shared)}: each has an epsilon_total "
                "of its own, and a row in both may cost the sum of the two."
            )


def _privacy_remarks(offer: Dataset) -> Iterator[str]:
    if offer.epsilon != "none" and offer.epsilon_total == "none":
        yield (
            f"limits a run to epsilon {offer.epsilon:g}, and sets no epsilon_total: all runs of all grants together "
            "may cost any amount."
        )
    numbers = {"epsilon": offer.epsilon, "ceilings.epsilon": offer.ceilings.epsilon}
    for setting, epsilon in numbers.items():
        if epsilon != "none" and epsilon >= _HARDLY_ANY_NOISE:
            yield (
                f"has {setting} = {epsilon:g}: at {_HARDLY_ANY_NOISE} or more there is next to no noise, and in a run "
                "with an epsilon noise takes the place of minimum_class_rows."
            )
    if offer.epsilon_total != "none" and offer.count_epsilon == "none":
        yield (
            f"shows its number of rows rounded to {offer.round_rows_to} and without noise: no epsilon covers that "
            "number. With count_epsilon it leaves with noise."
        )


def _remarks(registry: Registry, offer: Dataset) -> Iterator[str]:
    yield from _privacy_remarks(offer)
    known = set(registry.names("encryption"))
    for name in sorted(set(offer.backends) & known):
        backend: Any = registry.get("encryption", name)
        where = " It is used within this host, or towards the reference host, only." * (
            Leak.PLAINTEXT in backend.leakage
        )
        if backend.status is BackendStatus.TEACHING and name not in offer.teaching_backends:
            yield (
                f"names backend {name}, which is for teaching only: nothing runs under it unless teaching_backends "
                "names it too."
            )
            continue
        yield f"allows backend {name}, which {what_it_shows(backend)}.{where}"
    if offer.character_steps:
        steps = ", ".join(offer.character_steps)
        yield (
            f"allows {steps} under backends that rename: that is close to a substitution cipher, and whoever can write "
            "to the logs can plant text that they know."
        )
    if offer.download:
        yield "lets pseudonymised rows be downloaded: what was handed over cannot be called back."
    if offer.ceilings == Ceilings():
        yield "has no ceilings: every grant waits for a person on this host (`fedcore-owner grants confirm`)."
    else:
        yield "lets grants within its ceilings take effect as soon as they are approved at the coordinator."
