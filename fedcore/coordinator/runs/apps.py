from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RunsConfig(AppConfig):
    name = "fedcore.coordinator.runs"
    label = "runs"
    verbose_name = _("Runs")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from fedcore.coordinator.governance.decisions import decided
        from fedcore.coordinator.governance.rights import narrowed
        from fedcore.coordinator.governance.standings import stood
        from fedcore.coordinator.runs import audited
        from fedcore.coordinator.runs.decisions import cancel_lapsed, look_again

        decided.connect(look_again)
        stood.connect(look_again)
        narrowed.connect(cancel_lapsed)
        audited.watch()
