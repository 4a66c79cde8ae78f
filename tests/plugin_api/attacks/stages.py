"""Generated logs as the tests of attacks use them: rows, their tokens, and what a backend makes of these."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from fedcore.plugin_api import Pseudonyms, Records, SourceFile, Tokens
from fedcore.plugin_api.protection import RARE, ProtectFrequent, merged_but, rows_with
from fedcore.plugin_api.registry import Registry
from fedcore.plugin_api.testing import tokens_of
from plugins import encryption, models, preprocessing, readers
from plugins.encryption.keyed_tokens import KeyedTokens
from plugins.encryption.plaintext import Plaintext
from plugins.preprocessing.char_ngrams import CharNgrams
from plugins.preprocessing.fields import Fields
from plugins.preprocessing.lower import Lower
from plugins.preprocessing.words import Words
from plugins.readers.apache.generator import generate
from plugins.readers.apache.reader import ApacheCombined

REGISTRY = Registry([encryption, models, preprocessing, readers])
KEY = bytes(range(32))


@lru_cache
def records(rows: int, seed: int, site: str = "shop", attack_share: float = 0.2) -> Records:
    """Rows of a generated log."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "access.log"
        lines = generate(rows, seed, site=site, attack_share=attack_share)
        path.write_text("".join(f"{line}\n" for line in lines))
        reader, files = ApacheCombined({"labels": True}), [SourceFile(path)]
        return Records.concatenate(
            [block for shard in reader.shards(files, 1 << 30) for block in reader.read(files, shard)]
        )


def tokens(of: Records, columns: tuple[str, ...] = ("target",), characters: bool = False) -> Tokens:
    text = Lower().apply(Fields({"names": [*columns]}).apply(of))
    return (CharNgrams() if characters else Words()).apply(text)


def keyed(of: Tokens, minimum_count: int = 1) -> Pseudonyms:
    """What leaves an owner under `keyed_tokens`."""
    if minimum_count == 1:
        return KeyedTokens().protect(of, KEY)
    step = ProtectFrequent(KeyedTokens({"minimum_count": minimum_count}), KEY)
    return step.apply_fitted(of, step.finish([step.summarise(of, [])]))


def plain(of: Tokens) -> Pseudonyms:
    """The same under numbers that everybody can compute: unprotected, and what an attacker knows."""
    return Plaintext().protect(of, None)


def plain_by_the_rule(of: Tokens, minimum_count: int) -> Pseudonyms:
    """What an attacker knows, rare tokens as one, because it knows the rule."""
    known = plain(of)
    return merged_but(known, rows_with(known) >= minimum_count, plain(tokens_of([[RARE]])).ids[0])
