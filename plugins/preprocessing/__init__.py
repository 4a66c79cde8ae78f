"""Preprocessing steps: from records to the features that a model trains on."""

from __future__ import annotations

from typing import Any

from fedcore.plugin_api import PreprocessingStep, hookimpl

from .bag_of_words import BagOfWords
from .char_ngrams import CharNgrams
from .fields import Fields
from .hash_columns import HashColumns
from .joint_vocabulary import JointVocabulary
from .lower import Lower
from .pad import Pad
from .strip_punctuation import StripPunctuation
from .url_decode import UrlDecode
from .words import Words


@hookimpl
def fedcore_preprocessing_steps() -> list[type[PreprocessingStep[Any]]]:
    return [
        BagOfWords,
        CharNgrams,
        Fields,
        HashColumns,
        JointVocabulary,
        Lower,
        Pad,
        StripPunctuation,
        UrlDecode,
        Words,
    ]
