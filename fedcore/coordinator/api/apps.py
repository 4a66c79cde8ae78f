from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "fedcore.coordinator.api"
    label = "api"
