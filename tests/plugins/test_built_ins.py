"""The built-in plugins as a registry sees them, and how light they are to import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import plugins.encryption
import plugins.preprocessing
import plugins.readers
from fedcore.plugin_api import EncryptionBackend, SourceFile, ValueKind
from fedcore.plugin_api.backends import LEAK_TEXTS
from fedcore.plugin_api.pipeline import BuiltPipeline
from fedcore.plugin_api.registry import Registry
from fedcore.wire.spec import Pipeline, PluginChoice

REGISTRY = Registry([plugins.readers, plugins.preprocessing, plugins.encryption])
GROUPS = {
    "readers": {"labelled_lines", "apache_combined", "apache_common"},
    "preprocessing": {
        "fields",
        "url_decode",
        "lower",
        "strip_punctuation",
        "words",
        "char_ngrams",
        "hash_columns",
        "joint_vocabulary",
        "bag_of_words",
        "pad",
    },
    "encryption": {
        "plaintext",
        "keyed_tokens",
        "pairwise_masks",
        "secret_sharing",
        "paillier",
        "ckks",
        "ckks_sums",
        "elgamal",
        "elgamal_counts",
        "rsa",
    },
}
ALL = [(group, name) for group, names in GROUPS.items() for name in sorted(names)]


@pytest.mark.parametrize("group", GROUPS)
def test_the_built_ins_of_a_group_are_registered(group: str) -> None:
    assert set(REGISTRY.names(group)) == GROUPS[group]


@pytest.mark.parametrize(("group", "name"), ALL)
def test_every_option_has_a_description_in_its_schema(group: str, name: str) -> None:
    schema = REGISTRY.get(group, name).Options.model_json_schema()
    assert all("description" in option for option in schema.get("properties", {}).values())
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(("group", "name"), ALL)
def test_a_plugins_folder_holds_all_that_its_digest_covers(group: str, name: str) -> None:
    pin = REGISTRY.pin(group, name)
    assert (pin.group, pin.name) == (group, name)
    assert len(pin.digest) == 64


def test_importing_the_plugins_loads_nothing_that_is_heavy() -> None:
    program = (
        "import sys, fedcore.plugin_api, plugins.readers, plugins.preprocessing, plugins.encryption; "
        "print([name for name in ('numba', 'torch', 'django', 'sklearn', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("group", "name"), ALL)
def test_every_plugin_can_warm_up(group: str, name: str) -> None:
    plugin = REGISTRY.get(group, name)
    plugin.warm()
    loaded = set(sys.modules)
    plugin.warm()
    assert set(sys.modules) == loaded


def test_every_leak_has_words_for_the_owner() -> None:
    for name in GROUPS["encryption"]:
        backend = REGISTRY.of_type(EncryptionBackend, name)
        assert all(LEAK_TEXTS[leak] for leak in backend.leakage)
        assert all(sentence.endswith(".") for sentence in backend.trust)


def test_only_character_ngrams_show_characters() -> None:
    steps = {name: REGISTRY.get("preprocessing", name) for name in GROUPS["preprocessing"]}
    assert {name for name, step in steps.items() if vars(step).get("shows_characters")} == {"char_ngrams"}


def pipeline(*steps: tuple[str, dict[str, Any]]) -> Pipeline:
    return Pipeline(steps=tuple(PluginChoice(name=name, options=options) for name, options in steps))


def test_the_setup_of_2021_makes_sequences_of_250_from_a_joint_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_bytes(b"/index.html\n/index.php?id=1\n/index.html\n")
    built = BuiltPipeline(
        REGISTRY,
        pipeline(
            ("fields", {"names": ["request"]}),
            ("lower", {}),
            ("words", {}),
            ("protect", {}),
            ("joint_vocabulary", {"minimum_count": 1, "maximum_size": 300}),
            ("pad", {"length": 250, "side": "left"}),
        ),
        PluginChoice(name="keyed_tokens"),
        bytes(range(32)),
    )
    reader = REGISTRY.get("readers", "labelled_lines")()
    files = [SourceFile(tmp_path / "good.txt", "benign")]
    (records,) = reader.read(files, reader.shards(files, 1000)[0])  # type: ignore[attr-defined]
    (place,) = built.fitted
    state = built.finish(place, [built.summarise(place, records, {}, [])])
    features = built.features(records, {place: state})
    assert built.gives is ValueKind.SEQUENCE
    assert features.ids[:, -4:].tolist() == [[0, 0, 1, 2], [1, 3, 4, 5], [0, 0, 1, 2]]  # type: ignore[union-attr]
    assert not features.ids[:, :-4].any()  # type: ignore[union-attr]
