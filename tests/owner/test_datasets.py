"""Datasets on the disk: known by content, counted once, offered in round numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fedcore.owner.config import Config, parse_config
from fedcore.owner.datasets import DatasetProblem, Datasets
from fedcore.owner.facts import DatasetFacts, Refused
from fedcore.owner.home import Home
from fedcore.plugin_api import (
    DatasetReader,
    Options,
    Records,
    Shard,
    SourceFile,
    Text,
    UnreadableDataset,
    hookimpl,
)
from fedcore.plugin_api.registry import Registry
from fedcore.wire.codes import RefusalCode

from .test_config import VALID

reads: list[Path] = []


class Lines(DatasetReader[Any]):
    """One row for each line; a line `broken` cannot be read."""

    name = "labelled_lines"
    version = "1"
    summary = "Lines, for tests."
    columns = ("request",)

    class Options(Options):
        strip: bool = False

    def shards(self, files: Sequence[SourceFile], size: int) -> list[Shard]:
        return [Shard(number, 0, file.path.stat().st_size) for number, file in enumerate(files)]

    def read(self, files: Sequence[SourceFile], shard: Shard, labelled: bool = True) -> Iterator[Records]:
        path = files[shard.file].path
        reads.append(path)
        rows = path.read_bytes().splitlines()
        if b"broken" in rows:
            raise UnreadableDataset(f"File {path}, line {rows.index(b'broken') + 1}: this is no request.")
        yield Records({"request": Text.from_rows(rows)})


class Readers:
    @hookimpl
    def fedcore_dataset_readers(self) -> list[type[DatasetReader[Any]]]:
        return [Lines]


REGISTRY = Registry([Readers()])


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "north")
    home.create()
    reads.clear()
    write(home, b"GET /\n" * 250)
    return home


def write(home: Home, content: bytes, age: int = 60) -> None:
    path = home.path / "good.txt"
    path.write_bytes(content)
    changed = path.stat().st_mtime - age
    os.utime(path, (changed, changed))


def policy(text: str = VALID) -> Config:
    return parse_config(text)


def look(home: Home, text: str = VALID) -> DatasetFacts:
    return Datasets(home, policy(text), REGISTRY).look("access-2026")


def problem(home: Home, text: str = VALID) -> DatasetProblem:
    with pytest.raises(DatasetProblem) as caught:
        look(home, text)
    return caught.value


def test_the_same_content_is_the_same_version_wherever_it_lies(home: Home) -> None:
    before = look(home)
    assert before.rows == 250
    os.rename(home.path / "good.txt", home.path / "moved.txt")
    assert look(home, VALID.replace("good.txt", "moved.txt")) == before


def test_content_label_reader_options_and_order_of_files_make_another_version(home: Home) -> None:
    versions = {look(home).version}
    versions.add(look(home, VALID.replace("benign", "attack")).version)
    versions.add(look(home, VALID.replace("releases", "reader_options = {strip = true}\nreleases")).version)
    write(home, b"GET /\n" * 250 + b"GET /x\n")
    versions.add(look(home).version)
    assert len(versions) == 4


def test_an_option_that_is_written_out_as_its_default_changes_nothing(home: Home) -> None:
    explicit = VALID.replace("releases", "reader_options = {strip = false}\nreleases")
    assert look(home, explicit) == look(home)


def test_rows_change_sides_only_where_the_split_has_another_identity(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def split(text: str = VALID) -> str:
        return Datasets(home, policy(text), REGISTRY).split("access-2026")

    before = split()
    write(home, b"GET /other\n" * 30)
    assert split() == before, "it is the same for every version of the dataset"
    assert split(VALID.replace("releases", "reader_options = {strip = true}\nreleases")) != before
    monkeypatch.setattr(Lines, "version", "2")
    assert split() != before


def test_another_host_gives_the_same_content_another_version(home: Home, tmp_path: Path) -> None:
    other = Home(tmp_path / "south")
    other.create()
    write(other, b"GET /\n" * 250)
    assert look(other).version != look(home).version


def test_rows_are_counted_once_for_a_version(home: Home) -> None:
    for _ in range(3):
        assert look(home).rows == 250
    assert len(reads) == 1


def test_a_file_that_was_replaced_is_read_anew_even_with_the_same_size_and_time(home: Home) -> None:
    before = look(home)
    kept = (home.path / "good.txt").stat()
    replacement = home.path / "new.txt"
    replacement.write_bytes(b"PUT /\n" * 250)
    os.utime(replacement, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    os.replace(replacement, home.path / "good.txt")
    assert look(home).version != before.version


def test_a_broken_cache_costs_time_only(home: Home) -> None:
    before = look(home)
    home.dataset_cache_path.write_text("{")
    assert look(home) == before
    assert home.dataset_cache_path.stat().st_mode & 0o777 == 0o600


def test_an_offer_shows_schema_and_a_rounded_number_of_rows(home: Home) -> None:
    offers, problems = Datasets(home, policy(), REGISTRY).offers("2027-12-31")
    assert problems == ()
    (offer,) = offers
    assert (offer.name, offer.rows, offer.columns, offer.classes) == (
        "access-2026",
        200,
        ("request",),
        ("benign", "attack"),
    )
    assert offer.version == look(home).version


def test_a_dataset_past_its_retention_date_is_not_offered(home: Home) -> None:
    offers, problems = Datasets(home, policy(), REGISTRY).offers("2028-01-01")
    assert offers == ()
    assert [problem.code for problem in problems] == [RefusalCode.RETENTION_PASSED]


def test_a_dataset_that_cannot_be_read_keeps_no_other_from_being_offered(home: Home) -> None:
    second = VALID[VALID.index("[datasets") :].replace("access-2026", "gone").replace("good.txt", "gone.txt")
    offers, problems = Datasets(home, policy(VALID + second), REGISTRY).offers("2027-01-01")
    assert [offer.name for offer in offers] == ["access-2026"]
    assert [(found.name, found.code) for found in problems] == [("gone", RefusalCode.DATASET_UNREADABLE)]


@pytest.mark.parametrize(
    ("old", "new", "code", "told"),
    [
        ("good.txt", "gone.txt", RefusalCode.DATASET_UNREADABLE, "gone.txt cannot be read"),
        ("good.txt", "keys", RefusalCode.DATASET_UNREADABLE, "is not a regular file"),
        ('"labelled_lines"', '"csv"', RefusalCode.PLUGIN_MISSING, "no readers plugin 'csv'"),
        (
            "releases",
            "reader_options = {skip = 1}\nreleases",
            RefusalCode.INVALID_OPTIONS,
            "Invalid options for plugin 'labelled_lines': skip",
        ),
        ("access-2026", "access-2027", RefusalCode.UNKNOWN_DATASET, "offers no such dataset"),
    ],
)
def test_a_problem_has_a_code_for_others_and_a_text_for_the_owner(
    home: Home, old: str, new: str, code: RefusalCode, told: str
) -> None:
    found = problem(home, VALID.replace(old, new))
    assert found.code is code
    assert told in str(found)


def test_a_broken_line_is_told_with_its_place(home: Home) -> None:
    write(home, b"GET /\nbroken\n")
    assert "line 2" in str(problem(home))


def test_an_empty_dataset_is_refused(home: Home) -> None:
    write(home, b"")
    assert problem(home).code is RefusalCode.DATASET_EMPTY


def test_facts_are_a_refusal_where_a_look_fails_and_nothing_where_nothing_is_offered(home: Home) -> None:
    datasets = Datasets(home, policy(), REGISTRY)
    assert datasets.facts("access-2026") == look(home)
    assert datasets.facts("other") is None
    os.unlink(home.path / "good.txt")
    refused = datasets.facts("access-2026")
    assert isinstance(refused, Refused)
    assert refused.code is RefusalCode.DATASET_UNREADABLE
