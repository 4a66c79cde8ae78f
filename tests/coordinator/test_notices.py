"""Who is told of what, that nobody else sees it, and what e-mail says."""

from __future__ import annotations

from datetime import timedelta
from smtplib import SMTPDataError, SMTPRecipientsRefused, SMTPServerDisconnected

import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from django.core.mail import BadHeaderError, EmailMessage
from django.urls import reverse
from django.utils import timezone

from fedcore.coordinator.governance import decisions, mailing, notices, reminders, submissions
from fedcore.coordinator.governance.decisions import Limits
from fedcore.coordinator.governance.models import AccessRequest, Grant, Notice, OwnerHost, Person
from fedcore.coordinator.governance.notices import About

from .conftest import add_owner


def told(person: Person) -> list[tuple[str, str]]:
    return [
        (str(notice.about), notice.text) for notice in Notice.objects.filter(person=person).order_by("pk")
    ]


def test_the_owners_side_is_told_of_a_new_request_and_nobody_else(cast, asked):
    assert told(cast.olga) == [("request", "sam asks for access to north/access-2026.")]
    assert Notice.objects.exclude(person=cast.olga).count() == 0


def test_handing_in_the_same_request_again_tells_nobody_again(cast, asked):
    submissions.submit_request(asked.signed, cast.sam)
    assert Notice.objects.count() == 1


def test_each_decision_tells_the_other_side(cast, asked):
    otto = add_owner(cast, "otto")
    Notice.objects.all().delete()
    decisions.ask(asked, cast.olga, "Why five runs? My telephone is 555.")
    decisions.answer(asked, cast.sam, "One for each split.")
    decisions.approve(asked, cast.olga)
    decisions.tighten(asked, cast.olga, Limits(releases=2), "fewer")
    decisions.revoke(asked, cast.olga, "enough")
    assert told(cast.sam) == [
        ("question", "olga asks you something about your request for north/access-2026."),
        ("decision", "olga approved your request for north/access-2026."),
        ("tightened", "olga tightened your grant for north/access-2026."),
        ("revoked", "olga revoked your grant for north/access-2026."),
    ]
    answered = ("answer", "sam answered your question about the request for north/access-2026.")
    assert told(cast.olga) == told(otto) == [answered]
    assert not Notice.objects.filter(text__contains="555").exists()


def test_a_refusal_and_a_withdrawal_are_told(cast, asked, message):
    other = submissions.submit_request(message().signed_by(cast.sam_key), cast.sam)[0]
    Notice.objects.all().delete()
    decisions.refuse(asked, cast.olga, "no")
    decisions.withdraw(other, cast.sam)
    assert told(cast.sam) == [("decision", "olga refused your request for north/access-2026.")]
    assert told(cast.olga) == [("withdrawn", "sam withdrew the request for north/access-2026.")]


def test_where_two_approve_the_other_owners_are_told_and_not_the_scientist(cast, asked):
    cast.north.organisation.two_approvers = True
    cast.north.organisation.save()
    otto = add_owner(cast, "otto")
    Notice.objects.all().delete()
    decisions.approve(asked, cast.olga)
    assert [about for about, _text in told(otto)] == ["second"]
    assert told(cast.sam) == told(cast.olga) == []


def test_a_decision_that_is_not_taken_tells_nobody(cast, asked):
    Notice.objects.all().delete()
    with pytest.raises(decisions.DecisionError):
        decisions.approve(asked, cast.olga, Limits(releases=99))
    assert Notice.objects.count() == 0


def test_a_decision_whose_notice_cannot_be_written_is_not_taken(cast, asked, monkeypatch):
    def broken(*arguments):
        raise OSError("the disk is full")

    monkeypatch.setattr(notices, "tell", broken)
    with pytest.raises(OSError, match="full"):
        decisions.refuse(asked, cast.olga, "no")
    assert AccessRequest.objects.get().state == "waiting"


def test_each_person_keeps_the_newest_notices_only(cast, monkeypatch):
    monkeypatch.setattr(notices, "KEPT", 3)
    for number in range(5):
        notices.tell([cast.sam, cast.olga], About.DECISION, "a" * 64, f"number {number}")
    assert [text for _about, text in told(cast.sam)] == ["number 2", "number 3", "number 4"]
    assert len(told(cast.olga)) == 3


def test_a_notice_and_its_mail_say_one_line_whatever_names_stand_in_it(cast, post):
    evil = "Paul\n\nYour account expires. \u202eLog in at http://evil.example/\x1b[2J"
    notices.tell([cast.olga], About.REQUEST, "ab" * 32, f"{evil} asks for access.")
    mailing.send_notices(timezone.now())
    said = "Paul Your account expires. Log in at http://evil.example/[2J asks for access."
    assert Notice.objects.get().text == said
    assert post[0].body.split("\n\n")[0] == said


@pytest.mark.parametrize("evil", ["Paul\n\nLog in at", "Paul\tx", "Paul\x1b[2J", "Paul\u202e"])
@pytest.mark.parametrize("field", ["first_name", "last_name"])
def test_names_have_no_line_breaks_and_control_characters(cast, browser, field, evil):
    page = reverse("admin:governance_person_change", args=(cast.paul.pk,))
    form = {"first_name": "Paul", "last_name": "", "email": "paul@example.org"}
    answer = browser(cast.paul).post(page, form | {field: f"{evil} now"})
    assert "Leave out line breaks and control characters." in answer.content.decode()
    assert Person.objects.get(pk=cast.paul.pk).get_full_name() == ""


def test_titles_of_organisations_have_none_either(cast):
    organisation = cast.paul.organisation
    organisation.title = "Bank\nof the South"
    with pytest.raises(ValidationError, match="Leave out line breaks"):
        organisation.full_clean()


def test_many_notices_of_one_kind_drive_no_other_kind_out(cast, monkeypatch):
    monkeypatch.setattr(notices, "KEPT", 4)
    notices.tell([cast.olga], About.HOST_AWAY, cast.north.pk, "The host north is away")
    for number in range(6):
        notices.tell([cast.olga], About.REQUEST, "a" * 64, f"number {number}")
    assert [text for _about, text in told(cast.olga)] == [
        *("The host north is away", "number 3", "number 4", "number 5")
    ]


def test_what_was_read_goes_first(cast, monkeypatch):
    monkeypatch.setattr(notices, "KEPT", 3)
    for number in range(3):
        notices.tell([cast.olga], About.REQUEST, "a" * 64, f"number {number}")
    Notice.objects.filter(text="number 1").update(read_at=timezone.now())
    notices.tell([cast.olga], About.HOST_AWAY, cast.north.pk, "away")
    assert [text for _about, text in told(cast.olga)] == ["number 0", "number 2", "away"]


@pytest.mark.parametrize("who", ["sam", "eve", "paul", "anna", "ada", "nobody"])
def test_nobody_sees_the_notices_of_others_not_even_who_sees_everything(cast, api, browser, asked, who):
    assert api(cast[who]).get("/api/notices").json() == []
    if who != "nobody":
        page = browser(cast[who]).get(reverse("admin:governance_notice_changelist")).content.decode()
        assert "asks for access" not in page


def test_eve_marks_no_notice_of_others_as_read(cast, api, browser, asked):
    [notice] = Notice.objects.all()
    answer = api(cast.eve).post("/api/notices/read", {"ids": [notice.pk]}, format="json")
    assert answer.json() == {"marked": 0}
    browser(cast.eve).post(
        reverse("admin:governance_notice_changelist"),
        {"action": "mark_chosen", "_selected_action": [notice.pk]},
    )
    browser(cast.eve).post(reverse("admin:governance_notice_mark_all"), {"_form_submitted": "on"})
    notice.refresh_from_db()
    assert notice.read_at is None


def test_notices_need_a_token(api, db):
    assert api(None).get("/api/notices").status_code == 401
    assert api(None).post("/api/notices/read", {}, format="json").status_code == 401


def test_olga_reads_her_notices_and_marks_them(cast, api, asked):
    client = api(cast.olga)
    [found] = client.get("/api/notices").json()
    assert (found["about"], found["subject"], found["read_at"]) == ("request", asked.pk, None)
    assert found["address"] == f"/admin/governance/accessrequest/{asked.pk}/change/"
    assert client.post("/api/notices/read", {"ids": [found["id"]]}, format="json").json() == {"marked": 1}
    assert client.post("/api/notices/read", {}, format="json").json() == {"marked": 0}
    assert client.get("/api/notices").json()[0]["read_at"] is not None


def test_the_bell_counts_what_is_unread_and_looking_marks_nothing(cast, browser, asked):
    client = browser(cast.olga)
    page = client.get(reverse("admin:governance_notice_changelist")).content.decode()
    assert 'aria-label="1 unread notice"' in page
    assert "sam asks for access to north/access-2026." in page
    client.get(reverse("admin:governance_accessrequest_change", args=(asked.pk,)))
    client.get(reverse("admin:governance_notice_mark_all") + "?_form_submitted=on")
    assert Notice.objects.get().read_at is None
    answer = client.post(reverse("admin:governance_notice_mark_all"), {"_form_submitted": "on"})
    assert answer.headers["HX-Redirect"] == reverse("admin:governance_notice_changelist")
    assert Notice.objects.get().read_at is not None
    assert 'aria-label="0 unread notices"' in client.get("/admin/").content.decode()


def test_chosen_notices_are_marked_by_a_form_with_its_token(cast, browser, asked):
    form = {"action": "mark_chosen", "_selected_action": [Notice.objects.get().pk]}
    address = reverse("admin:governance_notice_changelist")
    assert browser(cast.olga, enforce_csrf_checks=True).post(address, form).status_code == 403
    assert Notice.objects.get().read_at is None
    browser(cast.olga).post(address, form)
    assert Notice.objects.get().read_at is not None


def later(**span) -> object:
    return timezone.now() + timedelta(**span)


def granted(cast, message, days, limits=None):
    expires_at = int(later(days=days).timestamp())
    asked = submissions.submit_request(message(expires_at=expires_at).signed_by(cast.sam_key), cast.sam)[0]
    decisions.approve(asked, cast.olga, limits)
    Notice.objects.all().delete()
    return asked


def test_a_grant_that_is_about_to_end_is_told_to_both_sides_once(cast, message):
    granted(cast, message, days=100)
    reminders.remind(later(days=80))
    assert Notice.objects.count() == 0
    for _ in range(2):
        reminders.remind(later(days=90))
    day = f"{Grant.objects.get().expires_at:%Y-%m-%d}"
    assert told(cast.sam) == [
        ("ending", f"Your grant for north/access-2026 ends on {day}. Ask for a renewal if you need more.")
    ]
    assert told(cast.olga) == [("ending", f"The grant of sam for north/access-2026 ends on {day}.")]


def test_a_grant_for_a_few_days_is_not_said_to_end_as_soon_as_it_is_given(cast, message):
    granted(cast, message, days=5)
    reminders.remind(later(days=1))
    assert Notice.objects.count() == 0


def test_an_expired_grant_and_an_undecided_request_are_told_once(cast, message, asked):
    granted(cast, message, days=3)
    for _ in range(2):
        reminders.remind(later(days=4))
    assert sorted(told(cast.sam)) == [
        ("ended", "Your grant for north/access-2026 has expired."),
        ("ended", "Your request for north/access-2026 was not decided within the time that it asked for."),
    ]


def test_a_revoked_grant_is_not_said_to_end(cast, message):
    asked = granted(cast, message, days=3)
    decisions.revoke(asked, cast.olga, "enough")
    Notice.objects.all().delete()
    reminders.remind(later(days=4))
    assert Notice.objects.count() == 0


def test_a_host_that_stays_away_is_told_once_and_again_after_it_came_back(cast):
    now = timezone.now()
    OwnerHost.objects.filter(name="north").update(last_contact=now)
    reminders.remind(now + timedelta(minutes=10))
    assert told(cast.olga) == []
    for minutes in (20, 21):
        reminders.remind(now + timedelta(minutes=minutes))
    assert [about for about, _text in told(cast.olga)] == ["away"]
    assert told(cast.paul) == []
    OwnerHost.objects.filter(name="north").update(last_contact=now + timedelta(minutes=30))
    reminders.remind(now + timedelta(minutes=31))
    reminders.remind(now + timedelta(minutes=50))
    assert [about for about, _text in told(cast.olga)] == ["away", "away"]


def test_a_host_that_never_came_is_not_said_to_be_away(cast):
    reminders.remind(timezone.now())
    assert Notice.objects.count() == 0


@pytest.fixture
def post(settings, cast):
    """E-mail is on, and kept in memory."""
    settings.FEDCORE_EMAIL = True
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    settings.FEDCORE_PUBLIC_URL = "https://fedcore.example.org/"
    Person.objects.filter(username="olga").update(email="olga@north.example")
    return mail.outbox


def test_by_default_no_mail_is_sent(cast, asked, settings):
    assert settings.FEDCORE_EMAIL is False
    Person.objects.update(email="someone@example.org")
    assert mailing.send_notices(timezone.now()) == 0
    assert mail.outbox == []
    assert Notice.objects.get().mailed_at is None


def test_a_mail_says_what_the_notice_says_and_where_to_read_more_once(post, asked):
    assert [mailing.send_notices(timezone.now()) for _ in range(2)] == [1, 0]
    [sent] = post
    assert (sent.subject, sent.to) == ("[fedcore] new request", ["olga@north.example"])
    assert "sam asks for access to north/access-2026." in sent.body
    assert f"https://fedcore.example.org/admin/governance/accessrequest/{asked.pk}/change/" in sent.body
    for kept_back in (asked.reason, asked.signature, asked.signer, "security-research"):
        assert kept_back not in sent.body


def test_people_without_an_address_what_was_read_and_what_is_old_is_not_mailed(post, cast, asked):
    notices.tell([cast.sam], About.DECISION, asked.pk, "no address")
    notices.tell([cast.olga], About.DECISION, asked.pk, "read")
    Notice.objects.filter(text="read").update(read_at=timezone.now())
    Notice.objects.filter(about="request").update(created_at=timezone.now() - timedelta(days=2))
    assert mailing.send_notices(timezone.now()) == 0
    assert post == []


def test_a_mail_that_the_server_does_not_take_is_tried_again(post, asked, settings, caplog):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    assert mailing.send_notices(timezone.now()) == 0
    assert "it is tried again" in caplog.text
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    assert mailing.send_notices(timezone.now()) == 1


@pytest.fixture
def refusing(post, cast, monkeypatch):
    """Paul's mail fails with the error that is given; Olga's and Sam's addresses work. Paul's notice is the oldest."""
    Person.objects.filter(username__in=("paul", "sam")).update(email="someone@example.org")
    Person.objects.filter(username="paul").update(email="paul@example.org")
    for person in (cast.paul, cast.olga, cast.sam):
        notices.tell([person], About.REQUEST, "ab" * 32, f"for {person}")
    send = EmailMessage.send

    def refuse_with(error: Exception) -> None:
        def send_but_for_paul(mail: EmailMessage, *arguments, **options) -> int:
            if "paul@example.org" in mail.to:
                raise error
            return send(mail, *arguments, **options)

        monkeypatch.setattr(EmailMessage, "send", send_but_for_paul)

    return refuse_with


@pytest.mark.parametrize(
    "error",
    [
        SMTPRecipientsRefused({"paul@example.org": (550, b"no such user")}),
        SMTPRecipientsRefused({"paul@example.org": (450, b"try later")}),
        SMTPDataError(554, b"looks like spam"),
        BadHeaderError("Header values can't contain newlines"),
    ],
    ids=["unknown", "later", "content", "header"],
)
def test_a_mail_that_the_server_refuses_keeps_no_other_back(post, refusing, error, caplog):
    refusing(error)
    now = timezone.now()
    assert mailing.send_notices(now) == 2
    assert sorted(mail.body.split("\n")[0] for mail in post) == ["for olga", "for sam"]
    assert "is tried again in an hour" in caplog.text
    failed = Notice.objects.get(person__username="paul")
    assert (failed.mailed_at, failed.mail_failed_at) == (None, now)


def test_a_mail_that_was_refused_is_tried_again_in_an_hour_and_no_sooner(post, refusing, monkeypatch):
    now = timezone.now()
    refusing(SMTPRecipientsRefused({"paul@example.org": (550, b"no such user")}))
    mailing.send_notices(now)
    monkeypatch.undo()
    assert mailing.send_notices(now + timedelta(minutes=59)) == 0
    assert mailing.send_notices(now + timedelta(minutes=60)) == 1
    assert post[-1].to == ["paul@example.org"]


def test_where_the_server_is_away_nothing_else_is_tried(post, refusing):
    refusing(SMTPServerDisconnected("gone"))
    assert mailing.send_notices(timezone.now()) == 0
    assert not Notice.objects.exclude(mailed_at=None, mail_failed_at=None).exists()


def test_the_task_that_beats_reminds_and_mails(post, asked):
    from fedcore.coordinator.governance.tasks import remind

    remind()
    assert len(post) == 1


def test_the_timer_runs_the_task():
    from project.celery import app

    assert "fedcore.governance.remind" in {entry["task"] for entry in app.conf.beat_schedule.values()}
    app.loader.import_default_modules()
    assert "fedcore.governance.remind" in app.tasks
