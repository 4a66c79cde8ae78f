from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class GovernanceConfig(AppConfig):
    name = "fedcore.coordinator.governance"
    label = "governance"
    verbose_name = _("Governance")

    def ready(self) -> None:
        from django.contrib.auth.signals import user_logged_in

        from fedcore.coordinator.governance.logins import note_login

        user_logged_in.connect(note_login)
