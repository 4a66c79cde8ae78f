from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RunsConfig(AppConfig):
    name = "fedcore.coordinator.runs"
    label = "runs"
    verbose_name = _("Runs")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from fedcore.coordinator.governance.decisions import decided
        from fedcore.coordinator.runs import audited
        from fedcore.coordinator.runs.decisions import look_again

        decided.connect(look_again)
        audited.watch()
