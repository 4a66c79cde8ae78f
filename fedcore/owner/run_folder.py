"""What this host keeps of one run: its keys, the fitted states, the model, and how to use them.

Who can see what: every file has mode 0600. `run.key` is held by all owners of the run and by nobody else; the
ephemeral key and the contribution exist only during the agreement. Closing a run deletes the folder, unless
the owners keep the model: then deleting it later destroys the key with it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedcore.owner.description import Local
from fedcore.owner.spool import make_directory, write_file
from fedcore.plugin_api.serialise import pack_state
from fedcore.plugin_api.steps import State
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import Digest, WireError
from fedcore.wire.keys import encode_key, read_secret, write_secret
from fedcore.wire.sealing import KEY_BYTES
from fedcore.wire.signing import Signed


class Agreement(Local):
    """How far the agreement of the run's key is: its transcript, and whether every owner's proof was checked."""

    transcript: Digest
    confirmed: bool = False


class RunFolder:
    """The folder of one run. Nothing is made before something is kept in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def run_key_path(self) -> Path:
        return self.directory / "run.key"

    @property
    def model_path(self) -> Path:
        return self.directory / "model.safetensors"

    @property
    def mask_secret_path(self) -> Path:
        return self.directory / "mask.key"

    @property
    def deal_secret_path(self) -> Path:
        return self.directory / "deal.key"

    def state_path(self, place: int) -> Path:
        return self.directory / f"state-{place}.safetensors"

    @property
    def exists(self) -> bool:
        return self.directory.is_dir()

    @property
    def states(self) -> dict[int, Path]:
        """The files of the fitted states, by the place of their step."""
        found = {
            int(path.stem.removeprefix("state-")): path for path in self.directory.glob("state-*.safetensors")
        }
        return dict(sorted(found.items()))

    def keep_spec(self, spec: Signed) -> None:
        """Keep the signed run spec, which says how to use the model."""
        make_directory(self.directory)
        write_file(self.directory / "spec.json", spec.encode().encode())

    def spec(self) -> Signed:
        """The signed run spec. Raises `FileNotFoundError`."""
        return Signed.from_bytes((self.directory / "spec.json").read_bytes())

    def ephemeral(self, create: bool = False) -> X25519PrivateKey:
        """The ephemeral key of the agreement. Raises `FileNotFoundError` without it, unless it is to be made."""
        return X25519PrivateKey.from_private_bytes(self._secret("ephemeral.key", create))

    def contribution(self, create: bool = False) -> bytes:
        """This host's 32 random bytes for the run's key, as `ephemeral`."""
        return self._secret("contribution.key", create)

    def run_key(self, create: bool = False) -> bytes:
        """The run's key. It is made here only for a run that no other host takes part in."""
        return self._secret("run.key", create)

    def mask_secret(self, create: bool = False) -> bytes:
        """From which this owner's rows are masked in a run on shares, as `ephemeral`."""
        return self._secret(self.mask_secret_path.name, create)

    def deal_secret(self, create: bool = False) -> bytes:
        """From which this dealer's seeds are made, as `ephemeral`."""
        return self._secret(self.deal_secret_path.name, create)

    def keep_share(self, part: int, data: bytes) -> None:
        """Keep a masked part of this owner's own rows, with the key that is its own as a compute owner."""
        write_file(self.directory / f"share-{part}.bin", data)

    @property
    def shares(self) -> list[Path]:
        """The masked parts that were kept, in order."""
        found = self.directory.glob("share-*.bin")
        return sorted(found, key=lambda path: int(path.stem.removeprefix("share-")))

    def forget_shares(self) -> None:
        """Delete the masked parts that an earlier attempt has kept."""
        for path in self.shares:
            path.unlink()

    def use_shares(self) -> None:
        """Note, before anything is opened, that this run's dealt randomness is used from now on.

        Raises `WireError` (`mask_reused`) where it was used before: a training that was broken off is not begun again.
        """
        try:
            write_secret(self.directory / "shares.used", b"")
        except FileExistsError:
            raise WireError(RefusalCode.MASK_REUSED, "the training on shares was begun before") from None

    def keep_run_key(self, key: bytes, agreement: Agreement) -> None:
        """Keep the agreed key; from here on the means of the agreement are gone."""
        self.keep_agreement(agreement)
        if self.run_key_path.exists():
            self.run_key_path.unlink()
        write_secret(self.run_key_path, key)
        for name in ("ephemeral.key", "contribution.key"):
            (self.directory / name).unlink(missing_ok=True)

    def agreement(self) -> Agreement | None:
        """How far the agreement is, or None before every ephemeral key is known."""
        path = self.directory / "agreement.json"
        return Agreement.model_validate_json(path.read_bytes()) if path.exists() else None

    def keep_agreement(self, agreement: Agreement) -> None:
        write_file(self.directory / "agreement.json", agreement.model_dump_json().encode())

    def keep_state(self, place: int, state: State) -> None:
        make_directory(self.directory)
        write_file(self.state_path(place), pack_state(state))

    def keep_model(self, data: bytes) -> None:
        make_directory(self.directory)
        write_file(self.model_path, data)

    def close(self, keep: bool) -> bool:
        """End the run here: everything goes, unless it is to be kept and there is a model. True if it was kept."""
        kept = keep and self.model_path.exists()
        if not kept:
            shutil.rmtree(self.directory, ignore_errors=True)
        for name in ("ephemeral.key", "contribution.key", "mask.key", "deal.key"):
            (self.directory / name).unlink(missing_ok=True)
        self.forget_shares()
        return kept

    def _secret(self, name: str, create: bool) -> bytes:
        path = self.directory / name
        if create and not path.exists():
            make_directory(self.directory)
            write_secret(path, os.urandom(KEY_BYTES))
        return read_secret(path)


def public_of(ephemeral: X25519PrivateKey) -> str:
    """The public half of an ephemeral key, as it travels."""
    return encode_key(ephemeral.public_key().public_bytes_raw())


def paths_by_place(states: Mapping[int, Path]) -> list[tuple[int, str]]:
    """Places and paths in the order of the places."""
    return [(place, str(path)) for place, path in sorted(states.items())]
