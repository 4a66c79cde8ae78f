from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class GovernanceConfig(AppConfig):
    name = "fedcore.coordinator.governance"
    label = "governance"
    verbose_name = _("Governance")

    def ready(self) -> None:
        from celery.signals import task_prerun, worker_init
        from django.contrib.auth.signals import user_logged_in

        from fedcore.coordinator.governance.audit import checks, origin, watching
        from fedcore.coordinator.governance.logins import note_login

        user_logged_in.connect(note_login)
        watching.watch()
        post_migrate.connect(checks.put_back, sender=self, dispatch_uid="audit")
        worker_init.connect(checks.end_worker_without_triggers, weak=False)
        task_prerun.connect(origin.from_worker, weak=False)
