"""What may stand in an address: digests, ids and names. Anything else is an address that does not exist."""

from __future__ import annotations

from django.urls import register_converter


class _Text:
    regex: str

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


class Digest(_Text):
    """A SHA-256 digest: a run, an access request, an artefact."""

    regex = "[0-9a-f]{64}"


class OrderId(_Text):
    """The identity of an order."""

    regex = "[0-9a-f]{32}"


class DryRunId(_Text):
    """The identity of a dry run."""

    regex = "[0-9a-f]{32}"


class TokenName(_Text):
    """How an API token is named."""

    regex = "[0-9a-f]{16}"


class Name(_Text):
    """The name of an owner host or of a dataset."""

    regex = "[a-z0-9][a-z0-9_.-]{0,62}"


register_converter(Digest, "digest")
register_converter(TokenName, "token")
register_converter(OrderId, "order")
register_converter(DryRunId, "dry_run")
register_converter(Name, "name")
