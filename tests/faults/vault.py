"""A third party's reader of lines that wants a password: a secret in the options of a reader."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import Final

from tests.owner.third_party import install

PASSWORD: Final = secrets.token_urlsafe(18)
"""With this the reader reads; it stands in north's owner.toml."""

OTHERS: Final = {name: secrets.token_urlsafe(18) for name in ("shut", "mistyped", "misnamed")}
"""Passwords that are wrong, of a wrong type, and under a wrong name: whatever is told of these mistakes."""

_DIGEST: Final = hashlib.sha256(PASSWORD.encode()).hexdigest()
SOURCE: Final = f"""
import hashlib

from pydantic import Field

from fedcore.plugin_api import Records, UnreadableDataset, hookimpl
from fedcore.plugin_api.lines import LineOptions, LineReader


class LockedOptions(LineOptions):
    password: str = Field("", description="what the lines are locked with")


class LockedLines(LineReader[LockedOptions]):
    name = "locked_lines"
    version = "1"
    summary = "Lines that are read with a password only."
    columns = ("request",)
    Options = LockedOptions

    def records(self, lines, labelled):
        if hashlib.sha256(self.options.password.encode()).hexdigest() != "{_DIGEST}":
            raise UnreadableDataset("the lines are locked with another password")
        return Records({{"request": lines.rows}}, self.labels_by_file(lines, len(lines.rows)) if labelled else None)


@hookimpl
def fedcore_dataset_readers():
    return [LockedLines]
"""


def install_reader(folder: Path) -> None:
    install(folder, "locked-lines", SOURCE)


def with_datasets(text: str) -> str:
    """North's policy with four datasets more: one that is read with the password, and three that cannot be."""
    offers = "".join(
        _offer(name, reader, options)
        for name, reader, options in (
            ("vault", "locked_lines", f'password = "{PASSWORD}"'),
            ("shut", "locked_lines", f'password = "{OTHERS["shut"]}"'),
            ("mistyped", "apache_combined", f'labels = "{OTHERS["mistyped"]}"'),
            ("misnamed", "apache_combined", f'labels = true, pasword = "{OTHERS["misnamed"]}"'),
        )
    )
    confined = text.replace("[worker]\n", "[worker]\nunconfined_plugins = true\n")
    return f'{confined}\n[[plugins]]\ndistribution = "locked-lines"\n{offers}'


def _offer(name: str, reader: str, options: str) -> str:
    rest = 'purposes = ["security-research"]\nprotocols = ["local"]\nbackends = ["plaintext"]\nmodels = ["linear"]\n'
    return f"""
[datasets.{name}]
title = "Lines in a {name}"
reader = "{reader}"
reader_options = {{{options}}}
files = [{{path = "../vault-good.txt", label = "benign"}}, {{path = "../vault-bad.txt", label = "attack"}}]
{rest}minimum_owners = 1
releases = 5
retention = 2099-12-31
[datasets.{name}.ceilings]
{rest}releases = 5
days = 40
epsilon = "none"
minimum_owners = 1
"""
