"""The demonstration: two owners, a reference host, a coordinator and a scientist, as real processes on this machine.

`python -m examples.demo` makes a fresh directory `var/demo` in which each organisation has its own files, keys and
broker, starts everything on loopback, and plays the people: the scientist asks for access, the owners approve, three
runs are trained and compared. Nothing in it is special to the demonstration: every step is a command or a request
that people use.
"""
