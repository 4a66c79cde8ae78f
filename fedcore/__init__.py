"""fedcore: organisations train one model on data that they cannot share."""

__version__ = "0.1.0"
