"""Compiled kernels where nothing can be kept on disk."""

from __future__ import annotations

import subprocess
import sys


def test_a_kernel_works_where_its_code_cannot_be_kept() -> None:
    # A function without a file has no folder for its code, as in an environment that nobody may write to.
    program = (
        "from fedcore.plugin_api.compiled import INT, WORD, compiled, lowest_bit\n"
        "@compiled(INT, WORD)\n"
        "def place(word):\n"
        "    return lowest_bit(word)\n"
        "print([place(1 << bit | 1 << 63) for bit in range(64)] == list(range(64)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
