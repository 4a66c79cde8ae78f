"""What may stand in an address: digests and orders' ids. Anything else is an address that does not exist."""

from __future__ import annotations

from django.urls import register_converter


class _Hexadecimal:
    regex: str

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


class Digest(_Hexadecimal):
    """A SHA-256 digest: a run, an access request, an artefact."""

    regex = "[0-9a-f]{64}"


class OrderId(_Hexadecimal):
    """The identity of an order."""

    regex = "[0-9a-f]{32}"


class TokenName(_Hexadecimal):
    """How an API token is named."""

    regex = "[0-9a-f]{16}"


register_converter(Digest, "digest")
register_converter(TokenName, "token")
register_converter(OrderId, "order")
