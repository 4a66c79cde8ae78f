"""Where somebody watches: how to look on in the admin, and a request that waits for the reader's decision."""

from __future__ import annotations

import time
from typing import Final

from examples.demo.stage import Stage

LOG_INS: Final = ("olga", "otto", "sam", "clara", "ada")


def tell_log_ins(stage: Stage) -> None:
    """Say where the admin is, and who can log in to it."""
    stage.teller.does("Admin", f"{stage.coordinator.url}/admin/")
    for username in LOG_INS:
        person = stage.cast.person(username)
        roles = ", ".join(person.roles).replace("_", " ")
        stage.teller.does("", f"{username:<6} {person.password}   {roles} of {person.organisation}")


def stay(stage: Stage) -> None:
    """Let Sam ask again, and keep everything running until Ctrl-C. Raises `DemoError` if a process ends."""
    stage.teller.heading("Your turn: decide as Olga in the admin (Ctrl-C ends everything)")
    olga = stage.cast.person("olga")
    stage.teller.does("Log in", f"as {olga.username} with {olga.password}")
    stage.processes.attend(stage.start_sam("reader"))
    stage.teller.does("", "Everything else keeps running until you press Ctrl-C.")
    while True:
        stage.processes.check()
        time.sleep(1)
