"""Which of a scientist's grants a run is submitted under.

The coordinator and the hosts check again, and say what is wrong: this only chooses the one that is most likely to do.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fedcore.client.catalogue import Dataset
from fedcore.client.runs import RunPlan
from fedcore.wire.spec import Pipeline

OPEN_STATES: Final = ("approved", "waiting", "asked_back", "proposed")
"""Under these a run may be submitted: it starts once every request is approved."""

IN_FORCE: Final = "in_force"
_ENDED_AT_HOST: Final = ("refused", "revoked")


@dataclass(frozen=True)
class Wanted:
    """What a grant is wanted for: a plan, with so many owners, signed by this person with this key."""

    plan: RunPlan
    owners: int
    username: str
    fingerprint: str

    def grant_for(self, dataset: Dataset, requests: Iterable[Mapping[str, Any]]) -> str:
        """The digest of the best of the person's own requests: one that covers the plan and can be used at once; else
        one that the host has still to take, one that is undecided, and at last one that does not cover the plan.

        Of equals the first, which is the newest. Raises `ValueError` where there is none.
        """
        open_ones = [item for item in requests if self._is_open(item, dataset)]
        if not open_ones:
            raise ValueError(f"You have no grant for {dataset.path}. Ask with `fedcore request`.")
        return str(min(open_ones, key=self._rank)["digest"])

    def _is_open(self, item: Mapping[str, Any], dataset: Dataset) -> bool:
        about = (item["host_name"], item["dataset"], item["version"])
        own = (item["requested_by"], item["fingerprint"]) == (self.username, self.fingerprint)
        is_open = item["state"] in OPEN_STATES and not item["expired"]
        return own and is_open and about == (dataset.host_name, dataset.name, dataset.version)

    def _rank(self, item: Mapping[str, Any]) -> int:
        grant = item["grant"]
        if not self._is_covered(item, grant or item):
            return 4
        if grant is None:
            return 2
        if not grant["usable"] or grant["standing"] in _ENDED_AT_HOST:
            return 3
        return 0 if grant["standing"] == IN_FORCE else 1

    def _is_covered(self, item: Mapping[str, Any], limits: Mapping[str, Any]) -> bool:
        plan, epsilon = self.plan, self.plan.privacy.epsilon_micro
        pipelines = (Pipeline.model_validate_json(json.dumps(given)) for given in item["pipelines"])
        limit = limits["epsilon_micro"]
        left = limit if limit == "none" else limit - limits.get("epsilon_spent_micro", 0)
        return (
            plan.purpose == item["purpose"]
            and plan.pipeline.digest in {pipeline.digest for pipeline in pipelines}
            and plan.protocol in limits["protocols"]
            and plan.backend.name in limits["backends"]
            and plan.model.name in limits["models"]
            and self.owners >= limits["minimum_owners"]
            and (left == "none" or (epsilon != "none" and epsilon <= left))
        )
