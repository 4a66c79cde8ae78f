"""Attacks that an owner, or a plugin's author, runs on protected data to see what the protection is worth.

Each is a function of what an observer sees and of what it is assumed to know, and guesses; what is true only judges
the guesses afterwards. None of them is an upper bound: another attacker may know more. A figure counts only beside its
control, the same attack where nothing is protected: an attack that fails there shows nothing anywhere.
"""

from fedcore.plugin_api.attacks.figures import AttackFigure, PrivacyAudit
from fedcore.plugin_api.attacks.frequency import (
    UNNAMED,
    Recovery,
    equal_numbers,
    frequency_analysis,
    recovery,
)
from fedcore.plugin_api.attacks.inversion import likely_tokens, typical_tokens
from fedcore.plugin_api.attacks.linkage import linkage
from fedcore.plugin_api.attacks.membership import (
    Membership,
    judged,
    likelihood_ratio,
    loss_threshold,
    losses,
    margins,
)
from fedcore.plugin_api.attacks.profiling import equal_rows, outlines, recognise_site, recognised

__all__ = [
    "UNNAMED",
    "AttackFigure",
    "Membership",
    "PrivacyAudit",
    "Recovery",
    "equal_numbers",
    "equal_rows",
    "frequency_analysis",
    "judged",
    "likelihood_ratio",
    "likely_tokens",
    "linkage",
    "loss_threshold",
    "losses",
    "margins",
    "outlines",
    "recognise_site",
    "recognised",
    "recovery",
    "typical_tokens",
]
