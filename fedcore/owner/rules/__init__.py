"""The rules of `fedcore.owner.policy`, each a pure function from a case to `Allowed` or `Refused`.

A refusal states rule, subject and fix; it stays on this host, only its code leaves.
"""
