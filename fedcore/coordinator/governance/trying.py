"""Asking for dry runs, and performing them: in a Celery worker, by a process with limits on time and memory.

A dry run uses mock samples only, so it needs nobody's leave; it costs the coordinator's time, so each person has a
few at a time. A lost message only delays it: the sweep finds what waits.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from celery import current_app
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext as _
from kombu.exceptions import OperationalError

from fedcore.coordinator.governance.decisions import DecisionError
from fedcore.coordinator.governance.dry_run_process import LARGEST_JOB, DryRunJob
from fedcore.coordinator.governance.models import (
    AccessRequest,
    Dataset,
    DatasetVersion,
    DryRun,
    DryRunState,
    Person,
    Role,
)
from fedcore.wire import access as wire
from fedcore.wire.catalogue import MockSample
from fedcore.wire.codes import RefusalCode
from fedcore.wire.dry_runs import MAXIMUM_TRIALS, DryRunPlan, Trial
from fedcore.wire.encoding import WireError
from fedcore.wire.spec import DatasetVersion as Wanted
from fedcore.wire.spec import PluginChoice

logger = logging.getLogger(__name__)

TASK: Final = "fedcore.governance.dry_run"
SWEEP: Final = "fedcore.governance.sweep_dry_runs"
UNFINISHED_EACH: Final = 3
"""How many dry runs of one person may wait or run, before the person may ask for another one of a plan."""

UNFINISHED_OF_REQUESTS: Final = 10
"""How many may, those of access requests among them. What is handed in beyond is tried when somebody asks for it."""

MAXIMUM_ATTEMPTS: Final = 3
KEPT: Final = timedelta(days=7)
"""How long a dry run without a request is kept."""

_FRESH: Final = timedelta(seconds=10)
_STARTING_SECONDS: Final = 30
_ENVIRONMENT: Final = ("HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TMPDIR", "VIRTUAL_ENV")


class NothingToTry(Exception):
    """There are no rows to try on. The text says why."""


# -- asking


def ask_for_request(request: AccessRequest) -> DryRun:
    """The dry run of an access request, which is asked for if there is none yet.

    Where too many of the person's wait already, it is over at once, untried, and says so: see `ask_again`.
    """
    asked = wire.AccessRequest.parse(request.text)
    plan = DryRunPlan(
        datasets=(asked.dataset,),
        pipelines=asked.pipelines,
        backends=tuple(PluginChoice(name=name) for name in asked.backends),
        models=tuple(PluginChoice(name=name) for name in asked.models),
    )
    facts = {"asked_by": request.requested_by, "subject": plan.model_dump(mode="json")}
    is_full = _unfinished(request.requested_by) >= UNFINISHED_OF_REQUESTS
    dry_run, is_new = DryRun.objects.get_or_create(
        request=request, defaults=facts | (_untried() if is_full else {})
    )
    if is_new and not is_full:
        _ring_on_commit(dry_run)
    return dry_run


def _unfinished(person: Person) -> int:
    count: int = person.dry_runs.exclude(state=DryRunState.DONE).count()
    return count


def _untried() -> dict[str, object]:
    remark = _("Not tried yet: %(count)d dry runs of the same person were waiting. Have it tried again.")
    return {
        "state": DryRunState.DONE,
        "finished_at": timezone.now(),
        "remark": remark % {"count": UNFINISHED_OF_REQUESTS},
    }


def ask_again(request: AccessRequest, person: Person) -> DryRun:
    """Have a request tried once more, where its dry run is over. Raises `DecisionError`."""
    if not _is_of_either_side(request, person):
        raise DecisionError(
            "not_data_owner",
            _("Only whoever asked, and the data owners of %(organisation)s, have it tried again.")
            % {"organisation": request.dataset.organisation},
        )
    dry_run = ask_for_request(request)
    fresh = {"state": DryRunState.WAITING, "attempts": 0, "trials": [], "remark": ""}
    again = {"asked_at": timezone.now(), "started_at": None, "finished_at": None}
    with transaction.atomic():
        asker = Person.objects.select_for_update().get(pk=dry_run.asked_by_id)
        if dry_run.is_over and _unfinished(asker) >= UNFINISHED_OF_REQUESTS:
            raise _too_many(UNFINISHED_OF_REQUESTS)
        if DryRun.objects.filter(pk=dry_run.pk, state=DryRunState.DONE).update(**fresh, **again):
            _ring_on_commit(dry_run)
    dry_run.refresh_from_db()
    return dry_run


def is_worth_again(request: AccessRequest, person: Person) -> bool:
    """Whether `person` may have the request tried again, and a dry run is over that did not pass."""
    tried = DryRun.objects.filter(request=request).first()
    return tried is not None and tried.is_over and not tried.passes and _is_of_either_side(request, person)


def _is_of_either_side(request: AccessRequest, person: Person) -> bool:
    is_asker = person.is_active and person.pk == request.requested_by_id
    return is_asker or person.owns_data_of(request.dataset.organisation.pk)


def ask(person: Person, plan: DryRunPlan) -> DryRun:
    """Have a plan tried before access is asked for. Raises `DecisionError` and `WireError`."""
    if not person.has_role(Role.DATA_SCIENTIST):
        raise DecisionError("not_data_scientist", _("Only data scientists have plans tried."))
    for wanted in plan.datasets:
        offered = Dataset.objects.visible_to(person).offered().filter(current_version=wanted.version)
        if not offered.filter(host__signing_key=wanted.host, name=wanted.name).exists():
            raise WireError(RefusalCode.UNKNOWN_DATASET, f"{wanted.name} is not offered in this version")
    with transaction.atomic():
        Person.objects.select_for_update().get(pk=person.pk)
        if _unfinished(person) >= UNFINISHED_EACH:
            raise _too_many(UNFINISHED_EACH)
        dry_run: DryRun = DryRun.objects.create(asked_by=person, subject=plan.model_dump(mode="json"))
        _ring_on_commit(dry_run)
    return dry_run


def _too_many(count: int) -> DecisionError:
    text = _("%(count)d dry runs of the same person are not over. Wait for them.") % {"count": count}
    return DecisionError("too_many_dry_runs", text)


# -- performing


def perform(dry_run_id: str) -> None:
    """Perform a dry run that waits; one that is over, or that another worker has, is left alone."""
    started = _claim(dry_run_id)
    if started is None:
        return
    dry_run = DryRun.objects.get(pk=dry_run_id)
    plan = DryRunPlan.parse(json.dumps(dry_run.subject), LARGEST_JOB)
    try:
        trials, remark = _tried(plan)
    except NothingToTry as error:
        trials, remark = [], str(error)
    _finish(dry_run_id, started, trials, remark)


def sweep() -> str | None:
    """The oldest dry run whose message was lost or whose worker was killed, if any; those that are old are deleted."""
    now = timezone.now()
    DryRun.objects.filter(request=None, asked_at__lt=now - KEPT).delete()
    given_up = DryRun.objects.filter(_free(now), attempts__gte=MAXIMUM_ATTEMPTS)
    given_up.update(
        state=DryRunState.DONE,
        finished_at=now,
        remark=_("It could not be performed: its process was lost each time."),
    )
    left: DryRun | None = (
        DryRun.objects.filter(_free(now), asked_at__lt=now - _FRESH).order_by("asked_at").first()
    )
    return left.pk if left else None


def _tried(plan: DryRunPlan) -> tuple[list[Trial], str]:
    """The trials that ended in time, with those that did not as failed; and what was left out."""
    samples = [_sample_of(wanted) for wanted in plan.datasets]
    if len({(tuple(sample.columns), sample.classes) for sample in samples}) != 1:
        raise NothingToTry(_("The datasets have different columns or classes: a run needs the same ones."))
    trials, reason = _run_process(plan, samples)
    for pipeline, backend, model in plan.combinations[len(trials) : MAXIMUM_TRIALS]:
        missing = Trial(
            pipeline=pipeline,
            backend=plan.backends[backend].name,
            model=plan.models[model].name,
            passes=False,
            problem=reason,
        )
        trials.append(missing)
    left_out = len(plan.combinations) - MAXIMUM_TRIALS
    if left_out <= 0:
        return trials, ""
    return trials, _("%(count)d further combinations were not tried.") % {"count": left_out}


def _run_process(plan: DryRunPlan, samples: list[MockSample]) -> tuple[list[Trial], str]:
    """What the process answered, and why an answer is missing where one is."""
    seconds = settings.FEDCORE_DRY_RUN_SECONDS
    job = DryRunJob(
        plan=plan,
        samples=tuple(samples),
        distributions=tuple(settings.FEDCORE_PLUGIN_DISTRIBUTIONS),
        parent=os.getpid(),
        seconds=seconds,
        memory_mb=settings.FEDCORE_DRY_RUN_MEMORY_MB,
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "fedcore.coordinator.governance.dry_run_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=_environment(),
        start_new_session=True,
    )
    try:
        answers = process.communicate(job.encode().encode(), timeout=seconds + _STARTING_SECONDS)[0]
    except subprocess.TimeoutExpired:
        _kill(process)
        answers = process.communicate()[0]
    except BaseException:
        _kill(process)
        raise
    lines = answers.decode("utf-8", "replace").splitlines()
    return [Trial.parse(line) for line in lines], _reason(process.returncode, seconds)


def _reason(status: int, seconds: int) -> str:
    if status in (-signal.SIGALRM, -signal.SIGXCPU, -signal.SIGKILL):
        return _("It took more than %(seconds)d seconds, or all the memory of a dry run.") % {
            "seconds": seconds
        }
    return _("The process of the dry run ended unexpectedly; the coordinator's log says more.")


def _environment() -> dict[str, str]:
    """What the process needs to start: no secret of the coordinator, and no graphics card."""
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    return kept | {
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process that was not waited for yet: afterwards its number may be that of another."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _sample_of(wanted: Wanted) -> MockSample:
    version = DatasetVersion.objects.filter(
        dataset__host__signing_key=wanted.host, dataset__name=wanted.name, digest=wanted.version
    ).first()
    mock = version.mock if version else None
    if mock is None:
        raise NothingToTry(
            _("%(dataset)s has no mock sample: its owner offers none, or its host has not sent it yet.")
            % {"dataset": version.dataset if version else wanted.name}
        )
    sample: MockSample = mock.sample
    return sample


# -- states


def _free(now: datetime) -> Q:
    lost = now - timedelta(seconds=settings.FEDCORE_DRY_RUN_SECONDS + 2 * _STARTING_SECONDS)
    return Q(state=DryRunState.WAITING) | Q(state=DryRunState.RUNNING, started_at__lt=lost)


def _claim(dry_run_id: str) -> datetime | None:
    now = timezone.now()
    free = DryRun.objects.filter(_free(now), pk=dry_run_id, attempts__lt=MAXIMUM_ATTEMPTS)
    claimed = free.update(state=DryRunState.RUNNING, started_at=now, attempts=F("attempts") + 1)
    return now if claimed else None


def _finish(dry_run_id: str, started: datetime, trials: list[Trial], remark: str) -> None:
    DryRun.objects.filter(pk=dry_run_id, state=DryRunState.RUNNING, started_at=started).update(
        state=DryRunState.DONE,
        finished_at=timezone.now(),
        trials=[trial.model_dump(mode="json") for trial in trials],
        remark=remark,
    )


def _ring_on_commit(dry_run: DryRun) -> None:
    transaction.on_commit(partial(_ring, dry_run.pk), robust=True)


def _ring(dry_run_id: str) -> None:
    try:
        current_app.send_task(TASK, kwargs={"dry_run_id": dry_run_id}, retry=False, ignore_result=True)
    except OperationalError as error:
        logger.warning("The broker is away, dry run %s waits for the sweep: %s", dry_run_id[:8], error)
