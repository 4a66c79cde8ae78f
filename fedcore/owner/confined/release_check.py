"""An owner's own check of releases as the gate asks it, with the work done in a confined process."""

from __future__ import annotations

from fedcore.owner.confined.calling import printable
from fedcore.owner.confined.child import release_facts
from fedcore.owner.confined.frames import Frame
from fedcore.owner.confined.proxies import CHILDREN, Side, Source
from fedcore.plugin_api.hookspecs import Release, Verdict


class ConfinedCheck:
    """An owner's own check of releases, in a process of its own: it sees what would leave, and no rows."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def verdict(self, release: Release) -> Verdict | None:
        """The verdict of all checks of the distribution; None where one gave none."""
        with CHILDREN.child(self._source.hurried, Side.AFTER) as child:
            facts = child.call(Frame("verdict", facts=release_facts(release)), "fedcore_before_release").facts
        if not isinstance(facts, dict):
            return None
        return Verdict(facts.get("allowed") is True, printable(str(facts.get("reason", ""))[:2000]))
