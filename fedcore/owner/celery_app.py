"""This owner's own Celery: its settings, and how the agent tells workers that a task waits.

Who can see what: a message on the broker has a task's name, an order's id and a shard's number. Whoever can
write to the broker can make workers look into the spool, where only the agent puts work, and nothing more.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

from celery import Celery
from kombu.exceptions import OperationalError

from fedcore.broker import broker_url
from fedcore.owner.shards import spool_is_busy
from fedcore.owner.spool import OrderSpool

logger = logging.getLogger(__name__)

QUEUE: Final = "fedcore"
_DAY: Final = 86_400


def make_app(broker_directory: Path) -> Celery:
    """The Celery app on this owner's broker; the address is read from `BROKER_URL` or the directory."""
    app = Celery("fedcore.owner", fixups=[], set_as_current=False)
    app.conf.update(
        broker_url=broker_url(broker_directory),
        accept_content=["json"],
        task_serializer="json",
        result_serializer="json",
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_default_queue=QUEUE,
        task_create_missing_queues=False,
        task_queues={QUEUE: {"exchange": QUEUE, "routing_key": QUEUE}},
        task_acks_late=True,
        task_always_eager=False,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=True,
        worker_redirect_stdouts=False,
        worker_proc_alive_timeout=120.0,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={"visibility_timeout": 7 * _DAY},
        task_publish_retry=True,
        task_publish_retry_policy={
            "max_retries": 2,
            "interval_start": 0.1,
            "interval_step": 0.2,
            "interval_max": 0.5,
        },
    )
    return app


class CeleryBell:
    """Rings by a message to this owner's Celery. A message that cannot be sent is rung for again later."""

    def __init__(self, app: Celery, spool: Path) -> None:
        self._app = app
        self._spool = spool

    def ring(self, kind: str, order_id: str, shard: int) -> None:
        arguments: dict[str, Any] = {"order_id": order_id, "shard": shard}
        try:
            self._app.send_task(f"fedcore.{kind}", kwargs=arguments, queue=QUEUE, ignore_result=True)
        except (OperationalError, OSError) as error:
            logger.warning("The broker takes no message (%s): task %s waits.", type(error).__name__, shard)

    def busy(self) -> bool:
        return spool_is_busy(OrderSpool(path) for path in self._spool.iterdir() if path.is_dir())
