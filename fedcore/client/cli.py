"""`fedcore`: the client's functions as commands."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from fedcore.client.comparison import Comparison
from fedcore.client.errors import FedcoreError
from fedcore.client.progress import follow as follow_run
from fedcore.client.runs import RunPlan
from fedcore.client.session import HOME_VARIABLE, Dataset, Session
from fedcore.wire.keys import fingerprint

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Train one model on data that stays with its owners."
)
console = Console()
errors = Console(stderr=True)

PlanFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A run plan (TOML).")]
RunId = Annotated[str, typer.Argument(help="A run's id, or its first characters.")]


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Register a command whose errors are one line for a person, and exit status 1."""

    @app.command()
    @wraps(function)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            function(*arguments, **options)
        except (FedcoreError, ValueError, OSError) as error:
            errors.print(f"[bold red]Error:[/] {error}", highlight=False)
            raise typer.Exit(1) from None

    return run


@command
def login(
    url: Annotated[
        str, typer.Argument(help="The coordinator's address, such as https://fedcore.example.org.")
    ],
    username: Annotated[str, typer.Option(prompt=True)],
) -> None:
    """Log in; password, and code of the second factor if you have one, are asked for, or taken from FEDCORE_PASSWORD
    and FEDCORE_OTP. Makes your signing key on first use."""
    session = _session(url)
    session.log_in(username, os.environ.get("FEDCORE_PASSWORD"), os.environ.get("FEDCORE_OTP"))
    console.print(f"Logged in to {url} as {username}. Your key: {fingerprint(session.key.public)}")


@command
def logout() -> None:
    """Revoke your token."""
    _session().log_out()
    console.print("Logged out.")


@command
def whoami() -> None:
    """Show who is logged in."""
    console.print_json(data=_session().me())


@command
def keys() -> None:
    """Show your public signing key, which owners pin in their policies, and its fingerprint."""
    key = _session().key
    console.print(f"public key   {key.public}\nfingerprint  {fingerprint(key.public)}", highlight=False)


@command
def datasets(search: Annotated[str | None, typer.Argument(help="Words to look for.")] = None) -> None:
    """List the datasets that owners offer."""
    table = Table("owner host", "dataset", "title", "rows", "reader", "version", title="Datasets")
    for item in _session().datasets(search):
        rows = f"about {item.rows:,}"
        table.add_row(item.host_name, item.name, item.title, rows, item.reader, item.version[:12])
    console.print(table)


@command
def request(
    plan: PlanFile,
    dataset: Annotated[list[str], typer.Option(help="HOST/NAME, once for each owner.")],
    reason: Annotated[str, typer.Option(help="What you want to find out, for the owner to read.")] = "",
    releases: Annotated[int, typer.Option(help="How many runs.")] = 1,
    days: Annotated[int, typer.Option(help="For how many days.")] = 30,
    download: Annotated[bool, typer.Option(help="Ask to download the pseudonymised dataset.")] = False,
) -> None:
    """Ask owners for leave to run a plan on their datasets."""
    session, wanted = _session(), _plan(plan)
    for found in _datasets(session, dataset):
        digest = session.request_access(
            found,
            [wanted],
            purpose=wanted.purpose,
            reason=reason,
            releases=releases,
            days=days,
            minimum_owners=wanted.minimum_owners,
            download=download,
        )
        console.print(f"Asked {found.host_name} for {found.name}: request {digest}")


@command
def requests() -> None:
    """List your access requests and their states."""
    table = Table("request", "dataset", "state", "releases", "reason", title="Access requests")
    for item in _session().requests():
        grant = item["grant"] or {"releases_used": 0, "releases": item["releases"]}
        releases = f"{grant['releases_used']} of {grant['releases']}"
        dataset = f"{item['host_name']}/{item['dataset']}"
        table.add_row(
            item["digest"][:12], dataset, item["state"], releases, item.get("decision_reason") or ""
        )
    console.print(table)


@command
def submit(
    plan: PlanFile,
    dataset: Annotated[list[str], typer.Option(help="HOST/NAME, once for each owner.")],
    follow: Annotated[bool, typer.Option(help="Show the progress until the end.")] = True,
) -> None:
    """Sign and submit a run under your newest grants for its datasets."""
    session, wanted = _session(), _plan(plan)
    found = _datasets(session, dataset)
    run = session.submit(wanted, found, [_grant_for(session, item) for item in found])
    console.print(f"Run {run}", highlight=False)
    if follow:
        follow_run(session, run, wanted.title, console)


@command
def runs() -> None:
    """List your runs."""
    table = Table("run", "title", "protocol", "state", "message", title="Runs")
    for item in _session().runs():
        table.add_row(
            item["id"][:12], item["title"], item["protocol"], item["state"], item.get("message") or ""
        )
    console.print(table)


@command
def follow(run: RunId) -> None:
    """Show the progress of a run until it ends."""
    session = _session()
    found = _run(session, run)
    follow_run(session, found["id"], found["title"], console)


@command
def cancel(run: RunId) -> None:
    """Cancel a run."""
    session = _session()
    session.cancel(_run(session, run)["id"])
    console.print("Cancelled.")


@command
def report(
    run: RunId, out: Annotated[Path | None, typer.Option(help="Write it to a file (JSON).")] = None
) -> None:
    """Show or save the report of a run."""
    session = _session()
    found = session.report(_run(session, run)["id"])
    if out is None:
        Comparison([found]).show(console)
    else:
        out.write_text(json.dumps(found, indent=2))


@command
def compare(
    run: Annotated[list[str], typer.Argument(help="Two or more runs.")],
    html: Annotated[Path | None, typer.Option(help="Also write a page with plots.")] = None,
) -> None:
    """Put runs side by side: quality, time, bytes, leakage and trust."""
    session = _session()
    comparison = Comparison([session.report(_run(session, item)["id"]) for item in run])
    comparison.show(console)
    if html is not None:
        from fedcore.client.report_page import write_page

        console.print(f"Written to {write_page(comparison, html)}")


@command
def model(
    run: RunId, out: Annotated[Path, typer.Option(help="Where to write it.")] = Path("model.safetensors")
) -> None:
    """Fetch the model of a pooled run (safetensors)."""
    session = _session()
    console.print(f"Written to {session.model(_run(session, run)['id'], out)}")


@command
def dataset(
    run: RunId, out: Annotated[Path, typer.Option(help="Where to write it.")] = Path("rows.safetensors")
) -> None:
    """Fetch the merged pseudonymised rows of a pooled run, where every owner gave leave (safetensors)."""
    session = _session()
    console.print(f"Written to {session.dataset(_run(session, run)['id'], out)}")


def main() -> None:
    """The entry point of the command."""
    app()


def _session(url: str | None = None) -> Session:
    home = os.environ.get(HOME_VARIABLE)
    return Session.open(url, Path(home) if home else None)


def _plan(path: Path) -> RunPlan:
    try:
        return RunPlan.from_mapping(tomllib.loads(path.read_text()))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not TOML: {error}") from None


def _datasets(session: Session, names: list[str]) -> list[Dataset]:
    offered = {f"{item.host_name}/{item.name}": item for item in session.datasets()}
    missing = [name for name in names if name not in offered]
    if missing:
        known = ", ".join(sorted(offered)) or "none"
        raise ValueError(f"There is no dataset {', '.join(missing)} in the catalogue (there are: {known}).")
    return [offered[name] for name in names]


def _grant_for(session: Session, dataset: Dataset) -> str:
    for item in session.requests():
        same = item["dataset"] == dataset.name and item["host_name"] == dataset.host_name
        if same and item["version"] == dataset.version and item["state"] in ("approved", "waiting"):
            return str(item["digest"])
    raise ValueError(f"You have no grant for {dataset.host_name}/{dataset.name}. Ask with `fedcore request`.")


def _run(session: Session, start: str) -> dict[str, Any]:
    found = [item for item in session.runs() if item["id"].startswith(start)]
    if len(found) != 1:
        raise ValueError(f"{len(found)} of your runs begin with {start!r}: give more of the id.")
    return found[0]
