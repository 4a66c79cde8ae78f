"""The held-out split: which rows an owner keeps back from training.

The choice follows from a secret of the owner and the *normalised* row (percent escapes decoded, lower case, each
run of digits as one), so near-duplicates stay on one side, nobody can shop for a split with a seed, and the
same row is on the same side in every run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.values import Records, Text
from fedcore.wire.sealing import derive

SHARE: Final = 0.3
_DECODINGS: Final = 3
_BETWEEN: Final = b"\n"


def held_out(
    records: Records, columns: Sequence[str], secret: bytes, share: float = SHARE
) -> NDArray[np.bool_]:
    """Which rows are held out: bool of shape (rows,), true for about `share` of the distinct normalised rows.

    `columns` are those that say what a row is, in order: those that the pipeline reads. `secret` has 32 bytes and
    never leaves the owner. Raises `ValueError` for another length, a share outside (0, 1), or a missing column.
    """
    from fedcore.plugin_api.siphash import KEY_BYTES, siphash

    if len(secret) != 32:
        raise ValueError(f"The secret of the split has 32 bytes, not {len(secret)}.")
    if not 0 < share < 1:
        raise ValueError(f"The share held out is between 0 and 1, not {share}.")
    numbers = siphash(normalised(records, columns), derive(secret, "held-out", KEY_BYTES))
    held: NDArray[np.bool_] = numbers < np.uint64(int(share * 2**64))
    return held


def normalised(records: Records, columns: Sequence[str]) -> Text:
    """The rows as they are compared: near-duplicates, such as other numbers or another case, become equal."""
    from fedcore.plugin_api.text import digits_as_one, joined, lowered, url_decoded

    missing = [name for name in columns if name not in records.columns]
    if missing or not columns:
        known = ", ".join(records.columns)
        raise ValueError(
            f"The split needs columns of the records ({known}), not {', '.join(columns) or 'none'}."
        )
    text = joined([records.columns[name] for name in columns], _BETWEEN)
    return digits_as_one(lowered(url_decoded(text, times=_DECODINGS)))
