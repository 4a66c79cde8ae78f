"""Whether a module of a large library is the library's own: the launcher loads it without any confinement.

Another distribution can bring files of the same names. What counts is the list of files that the library's own
installation wrote, with their digests.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import sys
from functools import lru_cache
from importlib.metadata import FileHash, PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

import fedcore

_DISTRIBUTIONS: Final = {"numba": "numba", "scipy": "scipy", "sklearn": "scikit-learn", "torch": "torch"}


def is_as_installed(module: str) -> bool:
    """Whether the file of a module is fedcore's own, or as the installation of its library has written it.

    Nothing is loaded to find out: of a library that is not loaded, only the top is looked for. Raises `ImportError`.
    """
    library = module.partition(".")[0]
    if module != library and library not in sys.modules:
        return False
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.has_location or spec.origin is None:
        return False
    file = os.path.realpath(spec.origin)
    if library == fedcore.__name__:
        return any(Path(file).is_relative_to(os.path.realpath(folder)) for folder in fedcore.__path__)
    known = _files_of(_DISTRIBUTIONS.get(library, library)).get(file)
    return known is not None and _matches(file, known)


@lru_cache
def _files_of(name: str) -> dict[str, FileHash]:
    """The files that a distribution has installed, with their digests; nothing where it keeps no list."""
    try:
        files = distribution(name).files or []
    except PackageNotFoundError:
        return {}
    return {
        os.path.realpath(str(file.locate())): file.hash
        for file in files
        if file.hash is not None and file.suffix in (".py", ".so")
    }


def _matches(file: str, known: FileHash) -> bool:
    if known.mode not in hashlib.algorithms_guaranteed:
        return False
    digest = hashlib.new(known.mode, Path(file).read_bytes()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == known.value
