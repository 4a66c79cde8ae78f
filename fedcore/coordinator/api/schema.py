"""Shapes that several endpoints share in the API's description."""

from __future__ import annotations

from rest_framework import serializers


class ErrorSerializer(serializers.Serializer[None]):
    """Every error of the API."""

    code = serializers.CharField(help_text="For programs: a refusal code, or one of the web framework.")
    detail = serializers.CharField(help_text="For people: the rule, the subject and the fix.")


class SignedSerializer(serializers.Serializer[None]):
    """A signed message: the exact text, who signed it, and the signature."""

    text = serializers.CharField(help_text="The message as JSON text, exactly as it was signed.")
    signer = serializers.CharField(help_text="The public key (43 characters).")
    signature = serializers.CharField(help_text="Ed25519, base64.")
