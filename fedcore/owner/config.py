"""`owner.toml`: the owner's policy and settings, as frozen values.

What is not written here is not allowed: every list of permissions is empty by default. A file that is
missing, broken, or has one setting that is unknown is no policy at all, and then nothing runs. All mistakes
are found at once, each with its place, the rule and the fix.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Hashable, Iterable
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Field,
    JsonValue,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from fedcore.owner.ceilings import Ceilings
from fedcore.owner.config_catalogue import CatalogueEntry
from fedcore.owner.config_problems import ConfigError, Problem, problems_of
from fedcore.owner.sections import DataFile, Flag, Hours, Section, whole
from fedcore.wire.encoding import Digest, Label, Name, Prose
from fedcore.wire.keys import HostCard, decode_key
from fedcore.wire.spec import Protocol

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def _check_key(text: str) -> str:
    try:
        decode_key(text)
    except ValueError:
        raise ValueError(
            "A public key has 43 characters. Copy it whole from whoever holds the key."
        ) from None
    return text


def _check_card(text: str) -> str:
    HostCard.parse(text)
    return text.strip()


def _check_url(text: str) -> str:
    parts = urlsplit(text)
    if not parts.hostname or parts.scheme not in {"http", "https"} or parts.username or parts.query:
        raise ValueError("The coordinator's address is an https URL without user, password or query.")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError("Plain http is for this machine only (127.0.0.1, localhost). Write https.")
    return text.rstrip("/")


def _check_organisation(text: str) -> str:
    if not any(character.isalnum() for character in text):
        raise ValueError(
            f"{text!r} names no organisation. Write its name, spelt the same everywhere in the file."
        )
    return text


Organisation = Annotated[Label, AfterValidator(_check_organisation)]
Key = Annotated[str, AfterValidator(_check_key)]
Card = Annotated[str, AfterValidator(_check_card)]
Url = Annotated[str, AfterValidator(_check_url)]


class Coordinator(Section):
    """The coordinator that this host takes orders from."""

    url: Url = Field(description="the coordinator's address, such as https://fedcore.example.org")
    key: Key = Field(
        description="the coordinator's public signing key, 43 characters; orders of any other are refused"
    )
    organisation: Organisation = Field(description="the organisation that operates the coordinator")


class Scientist(Section):
    """A data scientist whose run specs are considered."""

    name: Label = Field(description="what you call this scientist")
    key: Key = Field(description="the scientist's public signing key, 43 characters")
    organisation: Organisation = Field(description="the organisation that employs the scientist")


class Peer(Section):
    """Another owner's host that may take part in runs with this one."""

    name: Label = Field(description="what you call this host")
    card: Card = Field(description="the host's card, one line that its `fedcore-owner card` prints")
    organisation: Organisation = Field(description="the organisation that the host belongs to")
    reference: Flag = Field(
        default=False, description="whether this host is trusted with your plaintext, for baselines"
    )
    dealer: Flag = Field(
        default=False,
        description="whether this host may be the dealer of runs on shares; with a compute owner it could read your "
        "rows",
    )

    @property
    def key(self) -> str:
        """The host's public signing key, by which messages name it."""
        return HostCard.parse(self.card).signing

    @property
    def sealing_key(self) -> str:
        """The host's public sealing key."""
        return HostCard.parse(self.card).sealing


class AllowedPlugins(Section):
    """An installed distribution whose plugins may be loaded; loading them runs their code."""

    distribution: Annotated[str, Field(min_length=1)] = Field(
        description="the name of an installed package with plugins; `fedcore` has the built-in ones"
    )
    version: str | None = Field(default=None, description="the only version that may be loaded")
    digest: Digest | None = Field(
        default=None,
        description="SHA-256 of all files of the package and its entry points; `fedcore-owner check` prints it",
    )
    holds_keys: Flag = Field(
        default=False,
        description="whether an encryption backend of this package, if it is not fedcore's own, gets the runs' keys",
    )
    checks_releases: Flag = Field(
        default=True,
        description="whether this package may have a check of releases: if so, nothing is released while it cannot be "
        "loaded",
    )


class Dataset(Section):
    """A dataset that this host offers, and what may be done with it."""

    title: Label = Field(description="the title in the catalogue")
    description: Annotated[Prose, Field(max_length=4000)] = Field(
        default="", description="the text in the catalogue"
    )
    reader: Name = Field(description="the plugin that reads the files")
    reader_options: dict[str, JsonValue] = Field(default_factory=dict, description="the reader's options")
    files: Annotated[tuple[DataFile, ...], Field(min_length=1)] = Field(description="the files, in order")
    purposes: tuple[Name, ...] = Field(default=(), description="purposes for which the data may be used")
    protocols: tuple[Protocol, ...] = Field(
        default=(), description="protocols under which the data may be used"
    )
    backends: tuple[Name, ...] = Field(
        default=(), description="encryption backends that may protect the data"
    )
    models: tuple[Name, ...] = Field(default=(), description="model types that may be trained")
    character_steps: tuple[Name, ...] = Field(
        default=(),
        description="steps whose tokens are pieces of words, allowed by name under backends that merely rename tokens",
    )
    teaching_backends: tuple[Name, ...] = Field(
        default=(),
        description="those of the backends that are for teaching only, allowed by name although they protect little",
    )
    epsilon: Literal["none"] | Annotated[float, Field(gt=0, le=1e6)] = Field(
        default="none",
        description="the most privacy a run may cost; with a number, runs without one are refused",
    )
    epsilon_total: Literal["none"] | Annotated[float, Field(gt=0, le=1e6)] = Field(
        default="none",
        description="the most privacy that all runs of all grants may cost together, ever; with a number, runs "
        "without one are refused",
    )
    delta: Annotated[float, Field(ge=0, le=1e-3)] = Field(
        default=1e-6,
        description="the chance that a row is told apart further than epsilon allows; it belongs to both numbers",
    )
    count_epsilon: Literal["none"] | Annotated[float, Field(gt=0, le=1e6)] = Field(
        default="none",
        description="with a number, row counts that leave are noisy: drawn once for each version, and booked",
    )
    minimum_owners: Annotated[int, whole(1, 64)] = Field(
        default=2,
        description="how many organisations must bring data to a run, this one included; under local, be named in it",
    )
    minimum_rows: Annotated[int, whole(1, 10**12)] = Field(
        default=100,
        description="how many rows must stand behind everything that leaves; in a run with an epsilon, how many the "
        "dataset must have",
    )
    releases: Annotated[int, whole(1, 1_000_000)] = Field(
        description="how many runs one grant may cover at most"
    )
    round_rows_to: Annotated[int, whole(1, 10**9)] = Field(
        default=100, description="row counts that leave are rounded down to a multiple of this"
    )
    minimum_class_rows: Annotated[int, whole(1, 10**9)] = Field(
        default=5,
        description="how many held-out rows a class that occurs must have for counts by class to leave",
    )
    release: Literal["automatic", "review"] = Field(
        default="automatic",
        description="`review`: whatever depends on rows waits on this host until a person releases it",
    )
    release_mb: Annotated[int, whole(1, 2**20)] = Field(
        default=4096, description="MiB that the answer to one order may have at most"
    )
    download: Flag = Field(
        default=False,
        description="whether the pseudonymised rows may be handed to scientists; that cannot be called back",
    )
    hours: tuple[Hours, ...] = Field(
        default=(),
        description="times of day (UTC) at which orders may start work, such as 08:00-18:00; with none, at any time",
    )
    retention: date = Field(
        description="the last day (UTC) on which the data may be used, such as 2027-12-31"
    )
    catalogue: CatalogueEntry = Field(
        default=CatalogueEntry(), description="what the catalogue says of it besides, and the mock sample"
    )
    ceilings: Ceilings = Field(
        default=Ceilings(), description="what a grant may reach to take effect at once"
    )


class ReferenceService(Section):
    """Whether this host trains baselines on the plaintext of other owners."""

    serves: Flag = Field(
        default=False, description="whether this host trains on what pinned owners send it for baselines"
    )


class DealerService(Section):
    """Whether this host deals the randomness of runs on shares, for owners of other organisations."""

    serves: Flag = Field(
        default=False, description="whether this host is the dealer of runs on shares that name it"
    )
    release_mb: Annotated[int, whole(1, 2**20)] = Field(
        default=4096, description="MiB of randomness that are dealt for one run at most"
    )


class LedgerSettings(Section):
    """How the privacy ledger is kept from being put back to an older copy."""

    counter: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="the file with the ledger's counter, outside the home and never part of its backup; without "
        "it, below $XDG_STATE_HOME or ~/.local/state",
    )
    receipts: Literal["when_available", "required"] = Field(
        default="when_available",
        description="required: epsilon is only spent while a peer has lately confirmed that this ledger is current",
    )


class Worker(Section):
    """How the workers of this host compute."""

    processes: Annotated[int, whole(1, 256)] = Field(default=2, description="how many worker processes run")
    shard_bytes: Annotated[int, whole(4096, 2**31)] = Field(
        default=4 * 1024 * 1024, description="bytes of a file that one task reads"
    )
    memory_mb: Annotated[int, whole(256, 2**24)] = Field(
        default=4096, description="MiB of memory that a task may use"
    )
    seconds: Annotated[int, whole(1, 7 * 86_400)] = Field(
        default=3600, description="seconds that a task may take"
    )
    unconfined_plugins: Flag = Field(
        default=False,
        description="whether plugins of other packages run even where the kernel cannot confine them wholly",
    )


class Config(Section):
    """The whole of `owner.toml`."""

    organisation: Organisation = Field(description="the organisation that owns the data of this host")
    coordinator: Coordinator = Field(description="the coordinator that this host takes orders from")
    scientists: tuple[Scientist, ...] = Field(
        default=(), description="the scientists whose runs are considered"
    )
    peers: tuple[Peer, ...] = Field(default=(), description="the hosts of other owners that may take part")
    plugins: tuple[AllowedPlugins, ...] = Field(
        default=(), description="the packages whose plugins may be loaded"
    )
    datasets: dict[Name, Dataset] = Field(
        default_factory=dict, description="the datasets that this host offers"
    )
    reference: ReferenceService = Field(
        default=ReferenceService(), description="the service as a reference host"
    )
    dealer: DealerService = Field(default=DealerService(), description="the service as a dealer")
    ledger: LedgerSettings = Field(default=LedgerSettings(), description="how the privacy ledger is kept")
    worker: Worker = Field(default=Worker(), description="how the workers compute")

    def scientist(self, key: str) -> Scientist | None:
        """The pinned scientist with this signing key."""
        return next((scientist for scientist in self.scientists if scientist.key == key), None)

    def peer(self, key: str) -> Peer | None:
        """The pinned host with this signing key."""
        return next((peer for peer in self.peers if peer.key == key), None)

    @field_validator("scientists")
    @classmethod
    def _scientists_have_keys_of_their_own(
        cls, scientists: tuple[Scientist, ...], info: ValidationInfo
    ) -> tuple[Scientist, ...]:
        _refuse_repeats(scientists, lambda scientist: scientist.key, "key")
        _refuse_repeats(scientists, lambda scientist: scientist.name, "name")
        coordinator = info.data.get("coordinator")
        if coordinator is not None and any(scientist.key == coordinator.key for scientist in scientists):
            raise ValueError(
                "A scientist has the coordinator's key: one key has one role. Ask for the right key."
            )
        return scientists

    @field_validator("peers")
    @classmethod
    def _peers_have_keys_of_their_own(cls, peers: tuple[Peer, ...], info: ValidationInfo) -> tuple[Peer, ...]:
        _refuse_repeats(peers, lambda peer: peer.key, "signing key")
        _refuse_repeats(peers, lambda peer: peer.name, "name")
        coordinator = info.data.get("coordinator")
        others = {scientist.key for scientist in info.data.get("scientists", ())}
        others |= set() if coordinator is None else {coordinator.key}
        if others & {peer.key for peer in peers}:
            raise ValueError(
                "A peer has the key of a scientist or of the coordinator: one key has one role. Ask for the right card."
            )
        return peers

    @field_validator("plugins")
    @classmethod
    def _plugins_are_named_once(cls, plugins: tuple[AllowedPlugins, ...]) -> tuple[AllowedPlugins, ...]:
        _refuse_repeats(plugins, lambda allowed: allowed.distribution.lower(), "distribution")
        return plugins


def load_config(path: Path) -> Config:
    """Read `owner.toml`. Raises `ConfigError` with every mistake that the file has."""
    try:
        return parse_config(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        problem = Problem(str(path), "there is no such file", "Run `fedcore-owner init`")
    except (OSError, UnicodeDecodeError) as error:
        problem = Problem(str(path), f"cannot be read ({error})", "Restore the file, as UTF-8 text")
    raise ConfigError([problem])


def parse_config(text: str) -> Config:
    """The policy in this TOML text. Raises `ConfigError` with every mistake."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([Problem("owner.toml", f"is not TOML: {error}", "Correct the line")]) from None
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(problems_of(error, Config)) from None


def _refuse_repeats(items: Iterable[Any], identity: Callable[[Any], Hashable], noun: str) -> None:
    seen: set[Hashable] = set()
    for item in items:
        if identity(item) in seen:
            raise ValueError(f"The {noun} {identity(item)!r} stands here twice. Remove or correct one entry.")
        seen.add(identity(item))
