"""Lower case."""

from __future__ import annotations

from fedcore.plugin_api import Options, PreprocessingStep, Text, ValueKind


class Lower(PreprocessingStep[Options]):
    """The ASCII letters A to Z as a to z; all other bytes stay."""

    name = "lower"
    version = "1"
    summary = "Lower case, for ASCII letters."
    takes = ValueKind.TEXT
    gives = ValueKind.TEXT

    def apply(self, value: Text) -> Text:
        from fedcore.plugin_api.text import lowered

        return lowered(value)

    @classmethod
    def warm(cls) -> None:
        import fedcore.plugin_api.text  # noqa: F401
