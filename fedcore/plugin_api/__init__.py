"""All that a plugin author imports: hook specifications, base classes, options, values, and contract tests.

Everything here works without Django and without torch; what needs torch, scikit-learn or numba imports it
when it is used.
"""

from fedcore.plugin_api.aggregators import Aggregator
from fedcore.plugin_api.backends import (
    BackendStatus,
    EncryptionBackend,
    KeyHolders,
    Leak,
    Operation,
    Protects,
    ShareBackend,
    TokenBackend,
)
from fedcore.plugin_api.ciphers import (
    CipherBackend,
    Ciphertext,
    Domain,
    KeyPair,
    Numbers,
    OperationMissing,
    PublicCipher,
    SecretCipher,
)
from fedcore.plugin_api.hookspecs import Release, Verdict, hookimpl
from fedcore.plugin_api.models import LabelledRows, ModelType, Parameters, TrainingDiverged, TrainingOutcome
from fedcore.plugin_api.plugins import PLUGIN_API_VERSION, InvalidOptions, Options, Plugin
from fedcore.plugin_api.readers import DatasetReader, MockFile, Shard, SourceFile, UnreadableDataset
from fedcore.plugin_api.ring import FixedPoint, RingVector, WholeNumbers, checked_ring
from fedcore.plugin_api.steps import FittedStep, PreprocessingStep, State, Summary
from fedcore.plugin_api.sums import (
    Contribution,
    MaskKeys,
    PairSeeds,
    Roster,
    SumBackend,
    SumContext,
    add_contributions,
)
from fedcore.plugin_api.values import (
    Features,
    Indices,
    Matrix,
    Pseudonyms,
    Records,
    Sequence,
    Text,
    Tokens,
    ValueKind,
)
from fedcore.wire.catalogue import ColumnKind
from fedcore.wire.sealing import derive
from fedcore.wire.spec import Protocol, Training

__all__ = [
    "PLUGIN_API_VERSION",
    "Aggregator",
    "BackendStatus",
    "CipherBackend",
    "Ciphertext",
    "ColumnKind",
    "Contribution",
    "DatasetReader",
    "Domain",
    "EncryptionBackend",
    "Features",
    "FittedStep",
    "FixedPoint",
    "Indices",
    "InvalidOptions",
    "KeyHolders",
    "KeyPair",
    "LabelledRows",
    "Leak",
    "MaskKeys",
    "Matrix",
    "MockFile",
    "ModelType",
    "Numbers",
    "Operation",
    "OperationMissing",
    "Options",
    "PairSeeds",
    "Parameters",
    "Plugin",
    "PreprocessingStep",
    "Protects",
    "Protocol",
    "Pseudonyms",
    "PublicCipher",
    "Records",
    "Release",
    "RingVector",
    "Roster",
    "SecretCipher",
    "Sequence",
    "Shard",
    "ShareBackend",
    "SourceFile",
    "State",
    "SumBackend",
    "SumContext",
    "Summary",
    "Text",
    "TokenBackend",
    "Tokens",
    "Training",
    "TrainingDiverged",
    "TrainingOutcome",
    "UnreadableDataset",
    "ValueKind",
    "Verdict",
    "WholeNumbers",
    "add_contributions",
    "checked_ring",
    "derive",
    "hookimpl",
]
