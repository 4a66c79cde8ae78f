"""Runs: from a signed spec to a model, as orders to owner hosts and reports back.

Who can see what, assuming what: the coordinator sees specs, counts, the bytes that owners protected for it,
and the models of pooled runs. Keys of runs, sealed summaries and sealed features pass through as bytes that
it cannot open. It is trusted to keep a run going, not with rows: whatever it sends, an owner decides alone.
"""
