from __future__ import annotations

from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from fedcore.coordinator.governance import audit
from fedcore.coordinator.governance.audit import (
    Action,
    Subject,
    Thing,
    erasing,
    exporting,
    triggers,
    verifying,
)
from fedcore.coordinator.governance.models import AuditEntry, Dataset, Organisation, Person
from fedcore.coordinator.identity import coordinator_key


class Command(BaseCommand):
    help = "Verify, export and show the head of the audit; erase who a person is."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parts = parser.add_subparsers(dest="part", required=True)
        verify = parts.add_parser(
            "verify", help="Check the whole chain; exit status 1 names the first bad entry."
        )
        verify.add_argument("--head", help="A digest noted down earlier, which must be on the chain.")
        verify.add_argument("--from", dest="start", type=int, default=1, help="The first serial to look at.")
        verify.add_argument(
            "--key",
            action="append",
            default=[],
            help="A former public key of the coordinator; may be repeated.",
        )
        verify.add_argument(
            "--unrecorded", action="store_true", help="Write no entry about it: for a copy that is only read."
        )
        parts.add_parser("head", help="Show the last entry's serial and digest, to be kept elsewhere.")
        export = parts.add_parser("export", help="Write entries to the standard output.")
        export.add_argument("--format", choices=list(exporting.Format), default=exporting.Format.JSON_LINES)
        export.add_argument("--names", action="store_true", help="With the names and addresses of now.")
        export.add_argument("--since", type=_moment, help="From this day or moment on (UTC, ISO 8601).")
        export.add_argument("--until", type=_moment, help="Before this day or moment.")
        export.add_argument("--action", choices=Action.values, metavar="ACTION")
        export.add_argument("--person", help="What this person did.")
        export.add_argument("--organisation", help="What concerned this organisation.")
        export.add_argument("--dataset", help="What concerned this dataset: HOST/NAME.")
        export.add_argument("--run", help="What concerned the run with this id.")
        erase = parts.add_parser("anonymise", help="Erase a person's name and addresses, and end all access.")
        erase.add_argument("person", help="The username.")

    def handle(self, *args: Any, **options: Any) -> None:
        getattr(self, f"_{options['part']}")(options)

    def _verify(self, options: dict[str, Any]) -> None:
        keys = {coordinator_key().public, *options["key"]}
        try:
            found = verifying.verify(keys, options["head"], options["start"])
        except (verifying.AuditBroken, triggers.TriggersMissing) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{found.entries} entries are whole. The last is {found.serial}, {found.digest}.")
        if not options["unrecorded"]:
            looked = {"first": options["start"], "last": found.serial, "head": options["head"] is not None}
            audit.record(Action.VERIFY_AUDIT, Subject(Thing.AUDIT), **looked)

    def _head(self, options: dict[str, Any]) -> None:
        self.stdout.write(str(audit.head()))

    def _export(self, options: dict[str, Any]) -> None:
        entries = self._chosen(options)
        format = exporting.Format(options["format"])
        last = audit.head().serial  # What the export itself adds is not in it.
        entries = entries.filter(serial__lte=last)
        audit.record(Action.EXPORT_AUDIT, Subject(Thing.AUDIT), format=format.value, entries=entries.count())
        for line in exporting.exported(entries, format, options["names"]):
            self.stdout.write(line, ending="")

    def _chosen(self, options: dict[str, Any]) -> Any:
        entries = AuditEntry.objects.all()
        if options["since"]:
            entries = entries.filter(at__gte=options["since"])
        if options["until"]:
            entries = entries.filter(at__lt=options["until"])
        if options["action"]:
            entries = entries.filter(action=options["action"])
        if options["person"]:
            entries = entries.filter(person=_found(Person, username=options["person"]))
        if options["organisation"]:
            found = _found(Organisation, name=options["organisation"])
            entries = entries.concerning(Thing.ORGANISATION, found.pk)
        if options["dataset"]:
            host, _slash, name = options["dataset"].partition("/")
            entries = entries.concerning(Thing.DATASET, _found(Dataset, host__name=host, name=name).pk)
        if options["run"]:
            entries = entries.concerning(Thing.RUN, options["run"])
        return entries

    def _anonymise(self, options: dict[str, Any]) -> None:
        shown = erasing.erase(_found(Person, username=options["person"]))
        self.stdout.write(f"The name is erased. Entries and runs show {shown} from now on.")


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _found(model: Any, **named: Any) -> Any:
    row = model.objects.filter(**named).first()
    if row is None:
        raise CommandError(f"There is no {model._meta.verbose_name} {'/'.join(map(str, named.values()))}.")
    return row
