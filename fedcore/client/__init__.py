"""The scientist's side: log in, look at the catalogue, request access, sign and submit runs, fetch results.

HTTP only: this package imports neither Django nor torch (the torch dataset imports torch when it is used).

    from fedcore.client import Session

    session = Session.open("https://coordinator.example.org")
    session.log_in("sam", password)
    datasets = session.datasets()
"""

from fedcore.client.catalogue import Dataset, Mock, Version
from fedcore.client.comparison import Comparison
from fedcore.client.errors import (
    FedcoreError,
    NotLoggedIn,
    Refused,
    RunFailed,
    Unreachable,
)
from fedcore.client.runs import RunPlan
from fedcore.client.session import Host, Session

__all__ = [
    "Comparison",
    "Dataset",
    "FedcoreError",
    "Host",
    "Mock",
    "NotLoggedIn",
    "Refused",
    "RunFailed",
    "RunPlan",
    "Session",
    "Unreachable",
    "Version",
]
