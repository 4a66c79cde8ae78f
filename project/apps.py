"""The admin, with the coordinator's own site."""

from django.contrib.admin.apps import AdminConfig


class CoordinatorAdminConfig(AdminConfig):
    default_site = "fedcore.coordinator.governance.site.CoordinatorSite"
