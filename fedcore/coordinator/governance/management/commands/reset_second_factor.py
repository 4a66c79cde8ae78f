from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from fedcore.coordinator.governance import second_factor
from fedcore.coordinator.governance.models import Person


class Command(BaseCommand):
    help = "Take a person's second factor away: for whoever has lost app and recovery codes, and has no administrator."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")

    def handle(self, *args: Any, **options: Any) -> None:
        person = Person.objects.filter(username=options["username"]).first()
        if person is None:
            raise CommandError(f"There is nobody with the username {options['username']}.")
        if second_factor.of(person) is None:
            raise CommandError(f"{person.username} has no second factor.")
        second_factor.remove(person)
        self.stdout.write(
            f"The second factor of {person.username} is gone, and all sessions and tokens are ended."
        )
