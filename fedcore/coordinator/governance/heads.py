"""Heads of the owners' privacy ledgers and the receipts for them, carried between hosts exactly as they were signed.

The coordinator can hold them back, and neither forge nor change them. It keeps the latest head of each host, and the
receipts for that one.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import ClassVar, Final

from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from fedcore.coordinator.governance.catalogue import DIGEST_LENGTH, OwnerHost
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import MAXIMUM_MESSAGE_BYTES, WireError
from fedcore.wire.heads import HeadReceipt, LedgerHead
from fedcore.wire.requests import TOLERANCE_SECONDS
from fedcore.wire.signing import Signed

CARRIED_FOR: Final = timedelta(minutes=15)
"""A head that is older is of a host that is away: nobody is asked to answer it."""

MOST: Final = 64


class HostHead(models.Model):
    """The latest head that a host has signed."""

    host = models.OneToOneField(OwnerHost, on_delete=models.CASCADE, related_name="ledger_head")
    digest = models.CharField(_("digest"), max_length=DIGEST_LENGTH, unique=True)
    envelope = models.TextField(_("as signed"))
    at = models.DateTimeField(_("signed at"))

    class Meta:
        verbose_name = _("head of a ledger")
        verbose_name_plural = _("heads of ledgers")

    def __str__(self) -> str:
        return f"{self.host.name} {self.digest[:8]}"


class HostHeadReceipt(models.Model):
    """Another host's receipt for it."""

    head = models.ForeignKey(HostHead, on_delete=models.CASCADE, related_name="receipts")
    host = models.ForeignKey(OwnerHost, on_delete=models.CASCADE, related_name="+")
    envelope = models.TextField(_("as signed"))

    class Meta:
        verbose_name = _("receipt for a head")
        verbose_name_plural = _("receipts for heads")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["head", "host"], name="governance_one_receipt_for_a_head")
        ]

    def __str__(self) -> str:
        return f"{self.head} / {self.host.name}"


def exchange(host: OwnerHost, signed: Signed) -> tuple[list[Signed], list[Signed]]:
    """Keep a host's head; the answer is what others ask and it has not answered, and the receipts for its own.

    The same head again changes nothing. Raises `WireError`: `expired` for one from the future, `conflict` for one that
    is older than what is known, and the codes of signatures and parsing.
    """
    message = signed.open(LedgerHead, signer=host.signing_key)
    now = timezone.now()
    if message.at > now.timestamp() + TOLERANCE_SECONDS:
        raise WireError(RefusalCode.EXPIRED, "the head is from the future: set the host's clock")
    at = datetime.fromtimestamp(message.at, UTC)
    with transaction.atomic():
        OwnerHost.objects.select_for_update().get(pk=host.pk)
        known = HostHead.objects.filter(host=host).first()
        if known is None or known.digest != signed.digest:
            if known is not None and known.at > at:
                raise WireError(RefusalCode.CONFLICT, "a later head is known")
            HostHead.objects.filter(host=host).delete()
            known = HostHead.objects.create(host=host, digest=signed.digest, envelope=signed.encode(), at=at)
    others = HostHead.objects.exclude(host=host).exclude(receipts__host=host)
    open_heads = others.filter(host__is_active=True, at__gt=now - CARRIED_FOR).order_by("pk")[:MOST]
    return _envelopes(open_heads), _envelopes(known.receipts.order_by("pk")[:MOST])


def keep_receipt(host: OwnerHost, signed: Signed) -> None:
    """Keep a host's receipt for the latest head of another. A receipt for an older one is of no use, and dropped.

    Raises `WireError`.
    """
    receipt = signed.open(HeadReceipt, signer=host.signing_key)
    with transaction.atomic():
        head = HostHead.objects.select_for_update().filter(digest=receipt.asked).exclude(host=host).first()
        if head is not None:
            HostHeadReceipt.objects.get_or_create(
                head=head, host=host, defaults={"envelope": signed.encode()}
            )


def _envelopes(rows: models.QuerySet[HostHead] | models.QuerySet[HostHeadReceipt]) -> list[Signed]:
    return [Signed.parse(row.envelope, 2 * MAXIMUM_MESSAGE_BYTES) for row in rows]
