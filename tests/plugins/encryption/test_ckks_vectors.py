"""Vectors of CKKS: numpy computes the same on plain numbers, a stored pair still opens. Most have to be refused."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcore.plugin_api import KeyPair
from fedcore.plugin_api.arrays import pack_arrays, unpack_arrays
from fedcore.plugin_api.ciphers import key_digest, pack_ciphertext
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from plugins.encryption.ckks import Ckks, CkksSums
from plugins.encryption.ckks.cipher import CkksCiphertext, CkksPublic

FOLDER = Path(__file__).parent / "vectors"
VECTORS = json.loads((FOLDER / "ckks.json").read_text())
STORED = {
    name: array.tobytes()
    for name, array in unpack_arrays((FOLDER / "ckks.safetensors").read_bytes())[0].items()
}
PAIR = KeyPair(STORED["public"], STORED["secret"])
SUMS = CkksSums(VECTORS["stored"]["options"])


def cases(name: str) -> pytest.MarkDecorator:
    found = VECTORS[name]
    return pytest.mark.parametrize("case", found, ids=[case["name"] for case in found])


@cache
def keys(options: str) -> tuple[Ckks, KeyPair, CkksPublic]:
    backend = Ckks(json.loads(options))
    pair = backend.generate_keys()
    return backend, pair, backend.public(pair.public)


def computed(public: CkksPublic, case: dict[str, Any]) -> CkksCiphertext:
    found = public.encrypt(np.array(case["numbers"]))
    for operation, operand in case["operations"]:
        other: Any = np.array(operand)
        if not operation.endswith("_plain"):
            other = public.unpack(public.encrypt(other).pack())
        found = getattr(public, operation)(found, other)
    return found


def test_a_third_of_the_vectors_and_more_are_to_be_refused() -> None:
    good, bad = len(VECTORS["good"]), sum(len(VECTORS[name]) for name in VECTORS if name.startswith("bad"))
    assert good + bad >= 20
    assert 3 * bad >= good + bad


@cases("good")
def test_what_is_computed_is_what_numpy_computes(case: dict[str, Any]) -> None:
    backend, pair, public = keys(json.dumps(case["options"]))
    found = backend.secret(pair).decrypt(public.unpack(computed(public, case).pack()))
    assert np.abs(found - case["result"]).max() <= backend.tolerance * (1 + len(case["operations"]))


@cases("bad_operations")
def test_what_has_no_room_or_does_not_fit_is_refused(case: dict[str, Any]) -> None:
    _, _, public = keys(json.dumps(case["options"]))
    with pytest.raises(WireError, match=case["detail"]) as caught:
        computed(public, case)
    assert caught.value.code.value == case["code"]


def test_the_stored_pair_opens_the_stored_ciphertext() -> None:
    arrived = SUMS.public(PAIR.public).unpack(STORED["ciphertext"])
    found = SUMS.secret(PAIR).decrypt(arrived)
    assert np.abs(found - VECTORS["stored"]["numbers"]).max() <= 2.0**-8
    both = SUMS.public(PAIR.public).add(arrived, arrived)
    assert (
        np.abs(SUMS.secret(PAIR).decrypt(both) - 2 * np.array(VECTORS["stored"]["numbers"])).max() <= 2.0**-8
    )


@cases("bad_facts")
def test_a_ciphertext_with_facts_that_it_cannot_have_is_refused(case: dict[str, Any]) -> None:
    arrays, _ = unpack_arrays(STORED["ciphertext"])
    facts = {"length": 6, "level": 0, "magnitude": 1, "noise": 1} | case["facts"]
    with pytest.raises(WireError, match=case["detail"]) as caught:
        SUMS.public(PAIR.public).unpack(
            pack_ciphertext("ckks_sums", key_digest(PAIR.public), arrays, **facts)
        )
    assert caught.value.code.value == case["code"]


@cases("bad_keys")
def test_a_key_with_parameters_that_it_cannot_have_is_refused(case: dict[str, Any]) -> None:
    arrays, facts = unpack_arrays(PAIR.public)
    alter = dict(case["alter"])
    if "bits" in alter:
        moduli = [2**bits - 1 for bits in alter.pop("bits")]
        arrays = arrays | {"moduli": np.array(moduli, np.uint64)}
    facts = {name: text for name, text in (facts | alter).items() if text is not None}
    with pytest.raises(WireError, match=case["detail"]) as caught:
        SUMS.public(pack_arrays(arrays, facts))
    assert caught.value.code is RefusalCode.KEY_INVALID
