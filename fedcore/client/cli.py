"""`fedcore`: the client's functions as commands."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from fedcore.client import cli_requests, terminal
from fedcore.client.catalogue import Dataset
from fedcore.client.catalogue_tables import show_dataset, show_dry_run, table_of_datasets
from fedcore.client.comparison import Comparison, read_audit
from fedcore.client.grants import Wanted
from fedcore.client.progress import follow as follow_run
from fedcore.client.runs import DELTA, RunPlan
from fedcore.client.session import Session
from fedcore.client.terminal import add_row, console, shown, told_in_one_line
from fedcore.client.transport import is_in_clear
from fedcore.wire.keys import fingerprint
from fedcore.wire.spec import Privacy, in_millionths
from fedcore.wire.text import one_line

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Train one model on data that stays with its owners."
)
PlanFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A run plan (TOML).")]
ID_LENGTH: Final = 64
Force = Annotated[bool, typer.Option("--force", help="Overwrite the file where it exists.")]
RunId = Annotated[str, typer.Argument(help="A run's id, or its first characters.")]


def command(given: str | Callable[..., None]) -> Callable[..., Any]:
    """Register a command; a name may be given."""
    if isinstance(given, str):
        return partial(_registered, given)
    return _registered(None, given)


def _registered(name: str | None, function: Callable[..., None]) -> Callable[..., None]:
    return app.command(name)(told_in_one_line(function))


@command
def login(
    url: Annotated[
        str, typer.Argument(help="The coordinator's address, such as https://fedcore.example.org.")
    ],
    username: Annotated[str, typer.Option(prompt=True)],
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Send the password over a connection that is not encrypted.")
    ] = False,
) -> None:
    """Log in; password, and code of the second factor if you have one, are asked for, or taken from FEDCORE_PASSWORD
    and FEDCORE_OTP. Makes your signing key on first use."""
    if is_in_clear(url) and not insecure:
        raise ValueError(
            f"{url} is not encrypted, and everybody on the way could read your password. Use https://, or say "
            "--insecure."
        )
    session = _session(url)
    session.log_in(username, os.environ.get("FEDCORE_PASSWORD"), os.environ.get("FEDCORE_OTP"))
    console.print(
        f"Logged in to {shown(url)} as {shown(username)}. Your key: {fingerprint(session.key.public)}"
    )


@command
def logout() -> None:
    """Revoke your token."""
    _session().log_out()
    console.print("Logged out.")


@command
def whoami() -> None:
    """Show who is logged in."""
    console.print_json(one_line(json.dumps(_session().me(), ensure_ascii=False)))


@command
def keys() -> None:
    """Show your public signing key, which owners pin in their policies, and its fingerprint."""
    key = _session().key
    console.print(f"public key   {key.public}\nfingerprint  {fingerprint(key.public)}", highlight=False)


@command
def datasets(
    search: Annotated[
        str | None, typer.Option(help="Words, all of which stand in what the owner tells.")
    ] = None,
    organisation: Annotated[str | None, typer.Option(help="Whose data it is.")] = None,
    sensitivity: Annotated[
        str | None, typer.Option(help="public, internal, confidential or special.")
    ] = None,
    class_name: Annotated[str | None, typer.Option("--class", help="A class that the rows have.")] = None,
    reader: Annotated[str | None, typer.Option(help="How the files are read.")] = None,
    column: Annotated[list[str] | None, typer.Option(help="A column; may be given again.")] = None,
    min_rows: Annotated[int | None, typer.Option(help="At least so many rows.")] = None,
    ordering: Annotated[str | None, typer.Option(help="name, title, rows or newest.")] = None,
) -> None:
    """List the datasets that owners offer."""
    wanted = {"organisation": organisation, "sensitivity": sensitivity, "class_name": class_name}
    more = {"reader": reader, "columns": column, "minimum_rows": min_rows, "ordering": ordering}
    console.print(table_of_datasets(_session().datasets(search, **wanted, **more)))


@command
def dataset(name: Annotated[str, typer.Argument(help="HOST/NAME.")]) -> None:
    """Show what the owner tells of a dataset: terms, columns, versions."""
    session = _session()
    (found,) = _datasets(session, [name])
    show_dataset(found, session.versions(found), console)


@command
def mock(
    name: Annotated[str, typer.Argument(help="HOST/NAME.")],
    out: Annotated[Path | None, typer.Option(help="Where to write it (CSV).")] = None,
) -> None:
    """Fetch made-up rows of a dataset's schema, to develop on. They say nothing of the real rows."""
    session = _session()
    (found,) = _datasets(session, [name])
    target = out or Path(f"{found.host_name}-{found.name}-mock.csv")
    sample = session.mock(found)
    console.print(f"{len(sample)} made-up rows written to {shown(sample.write_csv(target))}")


@command("try")
def try_plan(
    plan: PlanFile,
    dataset: Annotated[list[str], typer.Option(help="HOST/NAME, once for each owner.")],
) -> None:
    """Have a plan tried on made-up rows by the coordinator, before you ask anybody."""
    session, wanted = _session(), _plan(plan)
    found = session.try_plans(_datasets(session, dataset), [wanted])
    show_dry_run(found, console)
    if not found["passes"]:
        raise typer.Exit(1)


@command
def request(
    plan: PlanFile,
    dataset: Annotated[list[str], typer.Option(help="HOST/NAME, once for each owner.")],
    reason: Annotated[str, typer.Option(help="What you want to find out, for the owner to read.")] = "",
    releases: Annotated[int, typer.Option(help="How many runs.")] = 1,
    days: Annotated[int, typer.Option(help="For how many days.")] = 30,
    download: Annotated[bool, typer.Option(help="Ask to download the pseudonymised dataset.")] = False,
    epsilon: Annotated[float | None, typer.Option(help="A privacy limit of all runs together.")] = None,
    replaces: Annotated[
        list[str] | None,
        typer.Option(help="An earlier request that the new one stands in for; once for each dataset."),
    ] = None,
) -> None:
    """Ask owners for leave to run a plan on their datasets."""
    session, wanted = _session(), _plan(plan)
    earlier = _replaced(session, replaces or [])
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
            privacy=_privacy(wanted, epsilon),
            replaces=earlier.get((found.host_name, found.name)),
        )
        console.print(f"Asked {shown(found.host_name)} for {shown(found.name)}: request {digest}")


def _privacy(plan: RunPlan, epsilon: float | None) -> Privacy | None:
    """The privacy of all runs together, where a number was given for it."""
    if epsilon is None:
        return None
    return Privacy(epsilon_micro=in_millionths(epsilon), delta=plan.privacy.delta or DELTA)


app.add_typer(cli_requests.app, name="requests")


@command
def notices(
    read: Annotated[bool, typer.Option("--read", help="Mark all of them as read.")] = False,
) -> None:
    """List what happened that you should know of: questions, decisions, ends of runs and grants."""
    session = _session()
    table = Table("", "when", "about", "what happened", title="Notices")
    for item in session.notices():
        new = "" if item["read_at"] else "new"
        add_row(table, new, item["created_at"][:16], item["about"], item["text"])
    console.print(table)
    if read:
        console.print(f"{session.mark_read()} marked as read.")


@command
def submit(
    plan: PlanFile,
    dataset: Annotated[list[str], typer.Option(help="HOST/NAME, once for each owner.")],
    grant: Annotated[
        list[str] | None,
        typer.Option(help="A request's digest, or its first characters, to use; once for each dataset."),
    ] = None,
    follow: Annotated[bool, typer.Option(help="Show the progress until the end.")] = True,
) -> None:
    """Sign and submit a run. Without --grant, under those of your grants that cover it, and can be used at once."""
    session, wanted = _session(), _plan(plan)
    found = _datasets(session, dataset)
    run = session.submit(wanted, found, _grants(session, wanted, found, grant or []))
    console.print(f"Run {run}", highlight=False)
    if follow:
        follow_run(session, run, wanted.title, console)


@command
def runs() -> None:
    """List your runs."""
    table = Table("run", "title", "protocol", "state", "message", title="Runs")
    for item in _session().runs():
        told = (item["title"], item["protocol"], item["state"], item.get("message") or "")
        add_row(table, item["id"][:12], *told)
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
    audit: Annotated[
        list[Path] | None,
        typer.Option(help="An owner's privacy audit, made with `fedcore-owner attack DATASET --json`."),
    ] = None,
) -> None:
    """Put runs side by side: quality, time, bytes, leakage and trust, and what owners' own attacks find out."""
    session = _session()
    audits = [read_audit(path) for path in audit or ()]
    comparison = Comparison([session.report(_run(session, item)["id"]) for item in run], audits)
    comparison.show(console)
    if html is not None:
        from fedcore.client.report_page import write_page

        console.print(f"Written to {shown(write_page(comparison, html))}")


@command
def model(
    run: RunId,
    out: Annotated[Path, typer.Option(help="Where to write it.")] = Path("model.safetensors"),
    force: Force = False,
) -> None:
    """Fetch the model of a pooled run (safetensors)."""
    session = _session()
    console.print(f"Written to {shown(session.model(_run(session, run)['id'], _new(out, force)))}")


@command
def rows(
    run: RunId,
    out: Annotated[Path, typer.Option(help="Where to write it.")] = Path("rows.safetensors"),
    force: Force = False,
) -> None:
    """Fetch the merged pseudonymised rows of a pooled run, where every owner gave leave (safetensors)."""
    session = _session()
    console.print(f"Written to {shown(session.dataset(_run(session, run)['id'], _new(out, force)))}")


def main() -> None:
    """The entry point of the command."""
    app()


def _session(url: str | None = None) -> Session:
    return terminal.open_session(url)


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


def _replaced(session: Session, starts: list[str]) -> dict[tuple[str, str], str]:
    """The digests of earlier requests, by the dataset that each is about."""
    known = session.requests() if starts else []
    found = {}
    for start in starts:
        matching = [item for item in known if item["digest"].startswith(start)]
        if len(matching) != 1:
            raise ValueError(f"{len(matching)} requests begin with {start!r}: give more of the digest.")
        found[matching[0]["host_name"], matching[0]["dataset"]] = str(matching[0]["digest"])
    return found


def _grants(session: Session, plan: RunPlan, datasets: list[Dataset], named: list[str]) -> list[str]:
    """A grant for each dataset: the one that was named, or else the best."""
    given = _replaced(session, named)
    unused = given.keys() - {(item.host_name, item.name) for item in datasets}
    if unused:
        listed = ", ".join(f"{host}/{name}" for host, name in sorted(unused))
        raise ValueError(f"A grant is for {listed}, of which the run uses no dataset: leave it out.")
    wanted = Wanted(plan, len(datasets), session.me()["username"], fingerprint(session.key.public))
    known = session.requests()
    return [given.get((item.host_name, item.name)) or wanted.grant_for(item, known) for item in datasets]


def _run(session: Session, start: str) -> dict[str, Any]:
    """The run with this id, or the one whose id begins so."""
    if len(start) == ID_LENGTH:
        return session.run(start)
    found = [item for item in session.runs() if item["id"].startswith(start)]
    if not found:
        raise ValueError(f"No run begins with {start!r}. `fedcore runs` lists those that you may see.")
    if len(found) > 1:
        raise ValueError(f"{len(found)} of your runs begin with {start!r}: give more of the id.")
    return found[0]


def _new(target: Path, force: bool) -> Path:
    """A file to write to, that is not there."""
    if target.exists() and not force:
        raise ValueError(f"{target} exists. Name another file with --out, or overwrite it with --force.")
    return target
