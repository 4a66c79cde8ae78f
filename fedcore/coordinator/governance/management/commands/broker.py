from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from fedcore.broker import BrokerError
from fedcore.coordinator.processes import run_broker


class Command(BaseCommand):
    help = "Run the coordinator's embedded broker in the foreground, until Ctrl-C."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        directory = Path(settings.FEDCORE_DATA_DIR) / "broker"
        self.stdout.write(f"Broker in {directory}; Ctrl-C stops it.")
        try:
            run_broker(directory)
        except BrokerError as error:
            raise CommandError(str(error)) from None
