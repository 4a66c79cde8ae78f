"""Budget arithmetic: accountants, clipping and noise, as pure functions on numbers.

No mechanism with a proven bound ships yet, so every release counts as unbounded: a grant with a number for
epsilon refuses every run, and a run that asks for one is refused. The owner's ledger will book what the
functions of this package compute.
"""
