"""The documentation's sources, and what writes its reference pages."""
