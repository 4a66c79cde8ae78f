"""The demonstration: two owners, a reference host, a coordinator and a scientist, as real processes on this machine.

`python -m examples.demo` makes a fresh directory `var/demo` in which each organisation has its own files, keys and
broker, starts everything on loopback, and plays the people: the scientist asks for access, the owners grant less, a
person confirms on a host, four runs are trained and compared, what was not granted is refused, a grant is revoked, and
all records are verified. Nothing in it is special to the demonstration: every step is a command or a request that
people use.

`story.py` has the scenes in their order; what Sam does in them is a process of its own (`scientist.py`).
"""
