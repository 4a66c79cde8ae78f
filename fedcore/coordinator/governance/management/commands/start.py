from __future__ import annotations

import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.urls import reverse

from fedcore.broker import BrokerError
from fedcore.coordinator import processes
from fedcore.coordinator.governance import first_run


class Command(BaseCommand):
    help = "Run the whole coordinator on this machine: database, broker, web and worker. Ctrl-C stops all."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="Where the web process listens.")
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--concurrency", type=int, default=2, help="Processes of the Celery worker.")

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", verbosity=0, interactive=False)
        data = Path(settings.FEDCORE_DATA_DIR)
        commands = [
            processes.web(options["host"], options["port"]),
            processes.worker(options["concurrency"], data / "celerybeat-schedule"),
        ]
        broker = None if os.environ.get("BROKER_URL") else data / "broker"
        self.stdout.write(
            f"fedcore coordinator at http://{options['host']}:{options['port']}/ ; Ctrl-C stops it."
        )
        if first_run.is_open():
            address = f"http://{options['host']}:{options['port']}{reverse('first-run')}"
            self.stdout.write(f"There is nobody yet. Make the first administrator at {address}")
            self.stdout.write(f"with the code {first_run.code()}")
        self.stdout.flush()
        try:
            ended = processes.run_together(commands, broker, settings.BASE_DIR)
        except BrokerError as error:
            raise CommandError(str(error)) from None
        if ended is not None:
            raise CommandError(
                f"The {ended} process ended {processes.ENDS_ALLOWED} times within a minute, so all were stopped. "
                "Its output is above."
            )
