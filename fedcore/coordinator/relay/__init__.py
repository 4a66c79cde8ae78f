"""The relay: passes sealed frames between the two compute owners of a run under protocol `shared`.

Who can see what: the frames are sealed end to end (`fedcore.wire.channel`). The relay sees which two hosts talk, when,
and how much, and can hold back or drop; it cannot read or alter.
"""
