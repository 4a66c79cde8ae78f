"""Runs: scientists submit, follow and cancel them, and fetch reports, models and datasets."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from django.http import Http404, HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import APIException, AuthenticationFailed
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fedcore.coordinator.api.authentication import Authentication
from fedcore.coordinator.api.files import file_response
from fedcore.coordinator.api.paging import PARAMETERS, newest
from fedcore.coordinator.api.parsers import SignedParser, signed_body
from fedcore.coordinator.api.schema import ErrorSerializer, SignedSerializer
from fedcore.coordinator.api.waiting import in_database, latest_event, watch
from fedcore.coordinator.governance import audit
from fedcore.coordinator.governance.audit import Action
from fedcore.coordinator.governance.models import Person
from fedcore.coordinator.governance.people import person_of
from fedcore.coordinator.runs import ending, storage, validation
from fedcore.coordinator.runs.flow import MODEL_AT_COORDINATOR
from fedcore.coordinator.runs.models import LARGE, Run, RunEvent
from fedcore.coordinator.runs.orders import DATASET, MODEL
from fedcore.coordinator.runs.parts import Parts
from fedcore.coordinator.runs.problems import Refused
from fedcore.coordinator.runs.rights import Rights, rights_of
from fedcore.coordinator.runs.states import ENDED

LONGEST_WAIT: Final = 30.0
EVENTS_PER_ANSWER: Final = 200
_RUN_ID: Final = re.compile(r"[0-9a-f]{64}")


class Conflict(APIException):
    status_code = 409
    default_code = "conflict"


class ProblemSerializer(serializers.Serializer[Any]):
    code = serializers.CharField()
    detail = serializers.CharField()


class RefusedRunSerializer(ErrorSerializer):
    problems = ProblemSerializer(many=True)


class RunSerializer(serializers.ModelSerializer[Run]):
    """A run as its scientist and the owners of its data see it. How good its model is says the report alone."""

    model = serializers.CharField(source="model_type")
    scientist = serializers.CharField(source="scientist.username")
    message = serializers.SerializerMethodField()
    code = serializers.SerializerMethodField()
    culprit = serializers.SerializerMethodField()

    class Meta:
        model = Run
        fields = (
            *(
                "id",
                "title",
                "protocol",
                "backend",
                "model",
                "scientist",
                "state",
                "phase",
                "progress",
                "message",
            ),
            *("code", "culprit", "created_at", "started_at", "finished_at", "deadline"),
        )

    @property
    def parts(self) -> Parts:
        """What whoever asks is told of it."""
        found: Parts = self.context["parts"]
        return found

    def get_message(self, run: Run) -> str:
        """Why it ended, or what it waits for; of a reason at another owner's host only that it is there."""
        return self.parts.ending_of(run).message

    def get_code(self, run: Run) -> str:
        """The code that ended it; empty where that is another owner's."""
        return self.parts.ending_of(run).code

    def get_culprit(self, run: Run) -> dict[str, str] | None:
        """Where the run was stopped, and what to do about it."""
        if not run.code:
            return None
        host = run.culprit.name if run.culprit else ""
        return {"host_name": host, "dataset": run.culprit_dataset, "remedy": self.parts.ending_of(run).remedy}


class RunsView(APIView):
    @extend_schema(responses=RunSerializer(many=True), parameters=PARAMETERS)
    def get(self, request: Request) -> Response:
        """One's own runs, and those that use data of an organisation that one oversees; newest first, in pages."""
        return newest(request, _visible(request), RunSerializer, _context(request))

    @extend_schema(
        request=SignedSerializer,
        responses={201: RunSerializer, 200: RunSerializer, 400: RefusedRunSerializer},
    )
    def post(self, request: Request) -> Response:
        """Submit a signed run spec. The same spec again gives the same run; all mistakes are answered at once."""
        try:
            run, is_new = validation.submit(person_of(request), signed_body(request))
        except Refused as error:
            problems = [{"code": str(problem.code), "detail": problem.detail} for problem in error.problems]
            return Response(
                {"code": str(error.code), "detail": error.detail, "problems": problems}, status=400
            )
        return Response(_shown(request, run), status=201 if is_new else 200)

    def get_parsers(self) -> list[Any]:
        return [SignedParser()]


class RunView(APIView):
    @extend_schema(responses={200: RunSerializer, 404: ErrorSerializer})
    def get(self, request: Request, run_id: str) -> Response:
        """Where a run is."""
        return Response(_shown(request, _run(request, run_id)))


class ReportView(APIView):
    @extend_schema(responses={200: OpenApiTypes.OBJECT, 404: ErrorSerializer, 409: ErrorSerializer})
    def get(self, request: Request, run_id: str) -> Response:
        """The report of a finished run: quality, cost, and what was leaked to whom."""
        run = _run(request, run_id)
        if run.report is None:
            raise Conflict(f"The run is {run.get_state_display()}: a report is made when a run has finished.")
        audit.record(Action.READ_REPORT, run)
        return Response(_parts(request).report_of(run))


class CancelView(APIView):
    @extend_schema(request=None, responses={200: RunSerializer, 404: ErrorSerializer, 409: ErrorSerializer})
    def post(self, request: Request, run_id: str) -> Response:
        """Cancel one's own run. The owners are told to delete what they made for it."""
        run = _own(request, run_id)
        try:
            with audit.refusals(Action.CANCEL_RUN, run):
                return Response(_shown(request, ending.cancel(run.pk)))
        except ending.NotAllowed as error:
            raise Conflict(str(error)) from None


class RightsSerializer(serializers.Serializer[Rights]):
    """What may be done with what a run made: the intersection of the grants of all that went into it."""

    reuse = serializers.BooleanField(help_text="Another run may start under the same grants.")
    download_model = serializers.BooleanField()
    keep = serializers.BooleanField(help_text="The coordinator keeps what it has of it.")
    predict = serializers.BooleanField(help_text="Owners may score rows of their own with the model.")
    download_dataset = serializers.BooleanField()
    because = serializers.CharField(help_text="Which grant took something away; empty where none did.")


class RightsView(APIView):
    @extend_schema(responses={200: RightsSerializer, 404: ErrorSerializer})
    def get(self, request: Request, run_id: str) -> Response:
        """What may be done with what a run made, now: the intersection of the grants of all its data."""
        run = _run(request, run_id)
        rights = rights_of(run, timezone.now())
        told = replace(rights, because=_parts(request).because(run, rights))
        return Response(RightsSerializer(told).data)


class ModelView(APIView):
    @extend_schema(
        responses={
            (200, "application/octet-stream"): OpenApiTypes.BINARY,
            403: ErrorSerializer,
            404: ErrorSerializer,
        }
    )
    def get(self, request: Request, run_id: str) -> HttpResponseBase:
        """The trained model of one's own pooled run, as safetensors; until an owner revokes a grant of it, and while
        one works for whom it was trained."""
        run = _own(request, run_id)
        rights = rights_of(run, timezone.now())
        if run.protocol_kind in MODEL_AT_COORDINATOR and not rights.download_model:
            audit.record(Action.DOWNLOAD_MODEL, run, refused="not_granted")
            self.permission_denied(request, rights.because, code="not_granted")
        return _file(request, run, MODEL, Action.DOWNLOAD_MODEL)


class DatasetView(APIView):
    @extend_schema(
        responses={
            (200, "application/octet-stream"): OpenApiTypes.BINARY,
            403: ErrorSerializer,
            404: ErrorSerializer,
        }
    )
    def get(self, request: Request, run_id: str) -> HttpResponseBase:
        """The merged pseudonymised rows of one's own pooled run; only while every owner's grant allows it."""
        run = _own(request, run_id)
        rights = rights_of(run, timezone.now())
        if not rights.download_dataset:
            audit.record(Action.DOWNLOAD_DATASET, run, refused="not_granted")
            because = f"Not every owner's grant allows to download the dataset. {rights.because}"
            self.permission_denied(request, because.rstrip(), code="not_granted")
        return _file(request, run, DATASET, Action.DOWNLOAD_DATASET)


async def wait(request: HttpRequest, run_id: str) -> HttpResponseBase:
    """The run's events after a serial, at once or when there are some: `?after=0`."""
    until = time.monotonic() + LONGEST_WAIT
    while True:
        found = await in_database(_look)(request, run_id)
        if isinstance(found, JsonResponse):
            return found
        answer, latest, is_over = found
        left = until - time.monotonic()
        if is_over or left <= 0:
            return JsonResponse(answer)
        await watch(latest_event).beyond(latest, left)


def _look(request: HttpRequest, run_id: str) -> JsonResponse | tuple[dict[str, Any], int, bool]:
    """What is new, or why that is not told. Who asks is looked up each time: they may be logged out meanwhile."""
    person = _person(request)
    if person is None:
        return _error(401, "not_authenticated", "Log in, and send the token.")
    if request.method != "GET":
        return _error(405, "method_not_allowed", "Use GET.", {"Allow": "GET"})
    after = request.GET.get("after", "0")
    if not (after.isascii() and after.isdigit() and len(after) <= 15):
        return _error(400, "malformed", "`after` is the serial of the last event that was seen.")
    return _news(person, run_id, int(after)) or _error(404, "not_found", "There is no such run.")


def _person(request: HttpRequest) -> Person | None:
    try:
        found = Authentication().authenticate(request)
    except AuthenticationFailed:
        return None
    return found[0] if found else None


def _news(person: Person, run_id: str, after: int) -> tuple[dict[str, Any], int, bool] | None:
    """What is new about a run, the latest serial of all events, and whether there is something to tell."""
    latest = latest_event()
    run = Run.objects.visible_to(person).filter(pk=run_id).first() if _RUN_ID.fullmatch(run_id) else None
    if run is None:
        return None
    parts = Parts(person)
    found = RunEvent.objects.filter(run=run, pk__gt=after).select_related("run", "host").order_by("pk")
    rows = found[:EVENTS_PER_ANSWER]
    events = [
        {
            "serial": row.pk,
            "at": row.at,
            "state": row.state,
            "text": parts.text_of(row),
            "progress": row.progress,
        }
        for row in rows
    ]
    return {"events": events, "state": run.state}, latest, bool(events) or run.state in ENDED


def _error(status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> JsonResponse:
    return JsonResponse({"code": code, "detail": detail}, status=status, headers=headers)


def _parts(request: Request) -> Parts:
    return Parts(person_of(request))


def _context(request: Request) -> dict[str, Any]:
    return {"parts": _parts(request)}


def _shown(request: Request, run: Run) -> Any:
    return RunSerializer(run, context=_context(request)).data


def _visible(request: Request) -> Any:
    return Run.objects.visible_to(person_of(request)).defer(*LARGE).select_related("scientist", "culprit")


def _run(request: Request, run_id: str) -> Run:
    found: Run | None = _visible(request).filter(pk=run_id).first() if _RUN_ID.fullmatch(run_id) else None
    if found is None:
        raise Http404
    return found


def _own(request: Request, run_id: str) -> Run:
    found = _run(request, run_id)
    if found.scientist_id != request.user.pk:
        raise Http404
    return found


def _file(request: Request, run: Run, role: str, action: Action) -> HttpResponseBase:
    artefact = run.artefacts.filter(order=None, role=role, complete=True, deleted_at=None).first()
    if artefact is None:
        raise Http404
    audit.record(action, run)
    return file_response(request._request, storage.file_of(artefact), f"{role}-{run.pk[:8]}.safetensors")
