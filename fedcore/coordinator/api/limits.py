"""Limits as the API gives and takes them. Epsilon is a number of millionths, or `none`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from fedcore.coordinator.governance.limits import LISTS, NAMES, Epsilon, Limits


@extend_schema_field({"oneOf": [{"type": "integer", "minimum": 1}, {"type": "string", "enum": ["none"]}]})
class EpsilonField(serializers.Field[Epsilon, Any, Any, Any]):
    """An epsilon of all runs together: millionths, or `none` for no promise."""

    def to_internal_value(self, data: Any) -> Epsilon:
        if data == "none":
            return "none"
        if not isinstance(data, int) or isinstance(data, bool) or data < 1:
            raise serializers.ValidationError(
                "An epsilon is a whole number of millionths above 0, or `none`."
            )
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class GivenLimitsSerializer(serializers.Serializer[Any]):
    """Some of the eight limits."""

    protocols = serializers.ListField(child=serializers.CharField(), required=False)
    backends = serializers.ListField(child=serializers.CharField(), required=False)
    models = serializers.ListField(child=serializers.CharField(), required=False, source="model_types")
    epsilon_micro = EpsilonField(required=False)
    releases = serializers.IntegerField(required=False)
    minimum_owners = serializers.IntegerField(required=False)
    expires_at = serializers.DateTimeField(required=False)
    download = serializers.BooleanField(required=False)

    def to_internal_value(self, data: Any) -> Any:
        """Refuses what is no limit: a misspelt limit would be granted as asked."""
        unknown = sorted(set(data) - set(self.fields)) if isinstance(data, Mapping) else []
        if unknown:
            listed = ", ".join(unknown)
            raise serializers.ValidationError(
                {listed: "There is no such limit. Correct its name, or leave it out."}
            )
        return super().to_internal_value(data)


def as_limits(given: Mapping[str, Any]) -> Limits:
    """The limits among validated values."""
    named: dict[str, Any] = {name: given[name] for name in NAMES if name in given}
    return Limits(**named | {name: tuple(named[name]) for name in LISTS if name in named})
