"""The owners' data: generated logs whose traffic differs from owner to owner, or the reader's own lines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from examples.demo.files import is_combined
from examples.demo.offer import DATASET, SEED, Offer
from examples.demo.own_lines import own_lines
from examples.demo.settings import FEWEST_ROWS, Settings
from plugins.readers.apache.generator import generate

ATTACK_SHARE: Final = 0.04
PORTAL: Final = "portal-log"
PORTAL_ROWS: Final = 8_000
PORTAL_BUDGET: Final = 1.0
"""The epsilon that everything ever learnt from the portal's log may cost together."""


@dataclass(frozen=True)
class Traffic:
    """The made-up traffic of one web server."""

    site: str
    seed: int
    kinds: dict[str, float]


TRAFFIC: Final = (
    Traffic(
        "hospital", SEED, {"sqli": 0.5, "xss": 0.1, "traversal": 0.2, "cmdi": 0.15, "domain_abuse": 0.05}
    ),
    Traffic("bank", SEED + 1, {"sqli": 0.15, "xss": 0.4, "traversal": 0.1, "rfi": 0.2, "domain_abuse": 0.15}),
)


def make_offers(settings: Settings, folders: tuple[Path, Path]) -> list[Offer]:
    """Write each owner's web server log, or its part of the reader's lines, to its folder."""
    if settings.good is not None and settings.bad is not None:
        return own_lines(settings.good, settings.bad, settings.rows, folders)
    rows = settings.rows or FEWEST_ROWS
    combined = settings.log is None or is_combined(settings.log)
    return [
        _generated(traffic, rows, folder, combined) for traffic, folder in zip(TRAFFIC, folders, strict=True)
    ]


def portal_offer(folder: Path) -> Offer:
    """Write the log of a hospital's portal: a small dataset that only private runs may use, up to a total."""
    log = folder / "portal.log"
    lines = generate(PORTAL_ROWS, SEED + 2, attack_share=0.3, site="hospital")
    log.write_text("".join(f"{line}\n" for line in lines))
    only_private = {"protocols": ["local"], "backends": ["plaintext"], "download": False}
    return Offer(
        name=PORTAL,
        title="Access log of the patients' portal",
        description=f"{PORTAL_ROWS:,} requests in combined log format, generated, with labels.",
        reader="apache_combined",
        reader_options={"labels": True},
        files={log.name: None},
        rows=PORTAL_ROWS,
        columns=("target",),
        sample=log,
        rules=only_private | {"minimum_owners": 1, "epsilon_total": PORTAL_BUDGET},
        ceilings=only_private,
    )


def _generated(traffic: Traffic, rows: int, folder: Path, combined: bool) -> Offer:
    form = "combined" if combined else "common"
    log, sample = folder / "access.log", folder / "today.log"
    lines = generate(rows, traffic.seed, attack_share=ATTACK_SHARE, kinds=traffic.kinds, site=traffic.site)
    log.write_text("".join(f"{_in_form(line, combined)}\n" for line in lines))
    today = generate(500, traffic.seed + 100, attack_share=0.1, kinds=traffic.kinds, site=traffic.site)
    sample.write_text("".join(_in_form(line, combined).rsplit(' "', 1)[0] + "\n" for line in today))
    return Offer(
        name=DATASET,
        title=f"Access log of the {traffic.site}'s web server",
        description=f"{rows:,} requests in {form} log format, generated, with labels.",
        reader=f"apache_{form}",
        reader_options={"labels": True, "skip_malformed": True},
        files={log.name: None},
        rows=rows,
        columns=("method", "target", "status", *(("agent",) if combined else ())),
        sample=sample,
    )


def _in_form(line: str, combined: bool) -> str:
    """A generated line as it is, or in common log format: without referrer and agent."""
    if combined:
        return line
    before, request, after, _referrer, _, _agent, _, label, _ = line.split('"')
    return f'{before}"{request}"{after}"{label}"'
