from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from fedcore.coordinator.governance.setup import SetupError, apply, read


class Command(BaseCommand):
    help = "Make organisations, people with roles, and owner hosts from a TOML file. Running it again changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            done = apply(read(options["file"]))
        except SetupError as error:
            raise CommandError(str(error)) from None
        for line in done or ["Nothing to do: everything is as the file says."]:
            self.stdout.write(line)
