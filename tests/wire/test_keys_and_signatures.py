"""Keys stay in files that only their owner reads; signatures bind kind, text and signer."""

from __future__ import annotations

import base64
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.keys import (
    HostCard,
    KeyFileError,
    SealingKey,
    SigningKey,
    encode_key,
    fingerprint,
    verify,
)
from fedcore.wire.orders import Phase
from fedcore.wire.reports import Announcement, Checked, Report, Status
from fedcore.wire.requests import TOLERANCE_SECONDS, sign_request, verify_request
from fedcore.wire.signing import Signed

ROOT = Path(__file__).resolve().parents[2]


def some_report() -> Report:
    return Report(
        order="0" * 32,
        run="1" * 64,
        phase=Phase.CHECK,
        status=Status.DONE,
        result=Checked(rows=300),
        finished_at=1_800_000_000,
    )


def test_a_key_is_made_on_first_use_with_mode_0600_and_is_the_same_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "signing.key"
    first = SigningKey.load_or_create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert SigningKey.load_or_create(path).public == first.public


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    SigningKey.load_or_create(path)
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match=r"mode 0640.*chmod 600"):
        SigningKey.load_or_create(path)


CRASHING = """
import os, resource, sys
from pathlib import Path
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
{touch}
print(resource.getrlimit(resource.RLIMIT_CORE)[0], flush=True)
os.abort()
"""


@pytest.mark.parametrize(
    "touch",
    [
        "from fedcore.wire.keys import SigningKey; SigningKey.load_or_create(Path('signing.key'))",
        "from fedcore.wire.keys import write_secret; write_secret(Path('split.key'), bytes(32))",
        "from fedcore.broker import broker_url; broker_url(Path('broker'))",
        "os.environ |= {'SECRET_KEY': 'x' * 50}; import project.settings",
    ],
)
def test_a_process_with_a_secret_leaves_no_core_file(tmp_path: Path, touch: str) -> None:
    environment = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "FEDCORE_DATA_DIR": str(tmp_path / "data")}
    (tmp_path / "broker").mkdir(mode=0o700)
    crashed = subprocess.run(
        [sys.executable, "-c", CRASHING.format(touch=touch)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (crashed.returncode, crashed.stdout) == (-signal.SIGABRT, "0\n"), crashed.stderr
    assert not list(tmp_path.rglob("core*"))


def test_a_truncated_key_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sealing.key"
    path.write_bytes(b"short")
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="holds 5 bytes"):
        SealingKey.load_or_create(path)


def test_the_representation_of_a_key_does_not_show_it(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    key = SigningKey.load_or_create(path)
    secret = encode_key(path.read_bytes())
    assert secret not in repr(key)
    assert fingerprint(key.public) in repr(key)


def test_ed25519_matches_the_first_vector_of_rfc_8032() -> None:
    public = encode_key(bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"))
    signature = bytes.fromhex(
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b"
    )
    assert verify(public, signature, b"")
    assert not verify(public, signature, b"x")
    assert not verify(public, b"\0" * 64, b"")


def test_a_signed_message_opens_to_what_was_signed() -> None:
    key = SigningKey.generate()
    signed = Signed.from_bytes(some_report().signed_by(key).encode().encode())
    assert signed.open(Report, signer=key.public) == some_report()


def test_a_changed_letter_breaks_the_signature() -> None:
    signed = some_report().signed_by(SigningKey.generate())
    changed = signed.model_copy(update={"text": signed.text.replace("300", "301")})
    with pytest.raises(WireError) as caught:
        changed.open(Report)
    assert caught.value.code is RefusalCode.BAD_SIGNATURE


def test_a_signature_on_one_kind_of_message_is_worth_nothing_on_another() -> None:
    signed = some_report().signed_by(SigningKey.generate())
    with pytest.raises(WireError) as caught:
        signed.open(Announcement)
    assert caught.value.code is RefusalCode.BAD_SIGNATURE


def test_a_signature_has_one_spelling() -> None:
    signed = some_report().signed_by(SigningKey.generate())
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = letters.index(signed.signature[85])
    other = f"{signed.signature[:85]}{letters[last + 1]}=="
    assert base64.b64decode(other) == base64.b64decode(signed.signature)
    with pytest.raises(WireError) as caught:
        Signed.from_bytes(signed.encode().replace(signed.signature, other).encode())
    assert caught.value.code is RefusalCode.MALFORMED


def test_another_signer_than_the_expected_one_is_refused() -> None:
    signed = some_report().signed_by(SigningKey.generate())
    with pytest.raises(WireError) as caught:
        signed.open(Report, signer=SigningKey.generate().public)
    assert caught.value.code is RefusalCode.UNKNOWN_SIGNER


def test_a_host_card_survives_being_copied() -> None:
    card = HostCard(SigningKey.generate().public, SealingKey.generate().public)
    assert HostCard.parse(f"  {card}\n") == card


@pytest.mark.parametrize("text", ["", "fedcore-host:abc:def", "fedcore-host:only-one", "x:y:z:w"])
def test_what_is_no_host_card_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="fedcore-host:SIGNING:SEALING"):
        HostCard.parse(text)


class TestRequests:
    key = SigningKey.generate()

    def headers(self, now: int = 1000) -> dict[str, str]:
        return sign_request(self.key, "POST", "/api/host/reports?x=1", b"body", now)

    def test_the_signature_of_a_request_names_the_host(self) -> None:
        found = verify_request(self.headers(), "POST", "/api/host/reports?x=1", b"body", 1000)
        assert found == self.key.public

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("PUT", "/api/host/reports?x=1", b"body"),
            ("POST", "/api/host/reports?x=2", b"body"),
            ("POST", "/api/host/reports?x=1", b"other"),
        ],
    )
    def test_method_path_query_and_body_are_all_covered(self, method: str, path: str, body: bytes) -> None:
        with pytest.raises(WireError) as caught:
            verify_request(self.headers(), method, path, body, 1000)
        assert caught.value.code is RefusalCode.BAD_SIGNATURE

    def test_an_old_request_is_refused(self) -> None:
        with pytest.raises(WireError) as caught:
            verify_request(self.headers(), "POST", "/api/host/reports?x=1", b"body", 1001 + TOLERANCE_SECONDS)
        assert caught.value.code is RefusalCode.EXPIRED

    @pytest.mark.parametrize("missing", ["Fedcore-Key", "Fedcore-Time", "Fedcore-Signature"])
    def test_a_missing_header_is_refused(self, missing: str) -> None:
        headers = {name: value for name, value in self.headers().items() if name != missing}
        with pytest.raises(WireError) as caught:
            verify_request(headers, "POST", "/api/host/reports?x=1", b"body", 1000)
        assert caught.value.code is RefusalCode.BAD_SIGNATURE
