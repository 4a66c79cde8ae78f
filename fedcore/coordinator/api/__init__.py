"""The REST API: one file per resource. `host` is for owner hosts, everything else for people."""
