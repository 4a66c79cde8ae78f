"""Settings of the coordinator, from environment variables. Each is documented where it is read.

Without any variable set, one machine runs everything: SQLite, an embedded broker, a data directory `var/coordinator`
beside `manage.py`, reachable on loopback only.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured
from django.urls import reverse_lazy

from fedcore.wire.keys import leave_no_core_file
from project.data_directory import make_private, secret_of
from project.limits import MAXIMUM_BODY_BYTES
from project.theme import UNFOLD as UNFOLD

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parent.parent

leave_no_core_file()  # The site's secrets are in its processes, also those that come from variables.

# --- where things are ------------------------------------------------------------------------------------
FEDCORE_DATA_DIR = make_private(Path(env("FEDCORE_DATA_DIR", default=str(BASE_DIR / "var" / "coordinator"))))
SECRET_KEY = env("SECRET_KEY", default="") or secret_of(FEDCORE_DATA_DIR / "keys" / "django.key")
# Former keys, while people log in anew and set up their second factors again.
SECRET_KEY_FALLBACKS: list[str] = env.list("SECRET_KEY_FALLBACKS", default=[])

# --- who runs it, what it loads, how long it waits -------------------------------------------------------
FEDCORE_OPERATOR_ORGANISATION: str = env("FEDCORE_OPERATOR_ORGANISATION", default="operator")
FEDCORE_PLUGIN_DISTRIBUTIONS: list[str] = env.list("FEDCORE_PLUGIN_DISTRIBUTIONS", default=["fedcore"])
FEDCORE_ORDER_SECONDS: int = env.int("FEDCORE_ORDER_SECONDS", default=24 * 3600)
FEDCORE_CLOSE_SECONDS: int = env.int("FEDCORE_CLOSE_SECONDS", default=7 * 24 * 3600)
FEDCORE_ORDER_UPLOAD_BYTES: int = env.int("FEDCORE_ORDER_UPLOAD_BYTES", default=8 * 1024**3)
FEDCORE_LEASE_SECONDS: float = env.float("FEDCORE_LEASE_SECONDS", default=15.0)
FEDCORE_POLL_SECONDS: float = env.float("FEDCORE_POLL_SECONDS", default=0.05)
FEDCORE_TORCH_THREADS: int = env.int("FEDCORE_TORCH_THREADS", default=1)
FEDCORE_DRY_RUN_SECONDS: int = env.int("FEDCORE_DRY_RUN_SECONDS", default=60)
FEDCORE_DRY_RUN_MEMORY_MB: int = env.int("FEDCORE_DRY_RUN_MEMORY_MB", default=2048)

# --- safety ----------------------------------------------------------------------------------------------
FEDCORE_PRODUCTION: bool = env.bool("FEDCORE_PRODUCTION", default=False)
DEBUG: bool = env.bool("DEBUG", default=False)
if FEDCORE_PRODUCTION and DEBUG:
    raise ImproperlyConfigured(
        "DEBUG shows settings and source to visitors. Unset it, or FEDCORE_PRODUCTION."
    )
ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = 10 * 3600
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = FEDCORE_PRODUCTION
SECURE_SSL_REDIRECT: bool = env.bool("SECURE_SSL_REDIRECT", default=FEDCORE_PRODUCTION)
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if FEDCORE_PRODUCTION else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = FEDCORE_PRODUCTION
FEDCORE_BEHIND_PROXY: bool = env.bool("FEDCORE_BEHIND_PROXY", default=False)
if FEDCORE_BEHIND_PROXY:
    # Only for a proxy that sets or strips this header itself: otherwise visitors could claim to use TLS.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
DATA_UPLOAD_MAX_MEMORY_SIZE = MAXIMUM_BODY_BYTES
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1000

# --- applications ----------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "project.apps.CoordinatorAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "knox",
    "axes",
    "django_otp",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "fedcore.coordinator.governance",
    "fedcore.coordinator.runs",
    "fedcore.coordinator.api",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "project.headers.content_security_policy",
    "project.static.StaticFiles",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
    "fedcore.coordinator.governance.audit.origin.noting_origin",
]
ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
ASGI_APPLICATION = "project.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # Before the applications' own, so that the dashboard replaces the theme's front page.
        "DIRS": [BASE_DIR / "fedcore" / "coordinator" / "governance" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- database --------------------------------------------------------------------------------------------
DATABASES = {
    "default": env.db("DATABASE_URL", default=f"sqlite:///{FEDCORE_DATA_DIR / 'coordinator.sqlite3'}")
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Tokens have a table of the coordinator's own, so knox makes none.
MIGRATION_MODULES = {"knox": None}
_engine = DATABASES["default"]["ENGINE"]
if _engine.endswith("sqlite3"):
    # Writers queue for the lock at the start of a transaction instead of failing in the middle of one.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;PRAGMA secure_delete=ON;",
    }
elif _engine.endswith("mysql"):
    DATABASES["default"].setdefault("OPTIONS", {}).update(
        {"charset": "utf8mb4", "isolation_level": "read committed"}
    )
    try:
        import MySQLdb  # type: ignore[import-untyped]  # noqa: F401
    except ImportError:
        import pymysql

        pymysql.install_as_MySQLdb()

# Counts of logins. With several web processes, all of them need the same: redis://, say.
CACHES = {"default": env.cache("CACHE_URL", default="locmemcache://fedcore")}

# --- Celery: JSON only, results in the database and never in the broker ----------------------------------
CELERY_BROKER_URL: str = env("BROKER_URL", default="")
if not CELERY_BROKER_URL:
    from fedcore.broker import broker_url

    CELERY_BROKER_URL = broker_url(FEDCORE_DATA_DIR / "broker")
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ALWAYS_EAGER = False
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# Whoever sends a message does not wait for a broker that is away: the sweep finds what was not said.
CELERY_BROKER_TRANSPORT_OPTIONS = {"max_retries": 0, "interval_start": 0}
if "redis" in CELERY_BROKER_URL:
    CELERY_BROKER_TRANSPORT_OPTIONS["visibility_timeout"] = 12 * 3600
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 3, "interval_start": 0, "interval_step": 0.2}
CELERY_BEAT_SCHEDULE = {
    # What a lost message, a killed worker or a wiped broker left behind is found again.
    "sweep": {"task": "fedcore.runs.sweep", "schedule": 2.0, "options": {"expires": 2.0}},
    "tidy": {"task": "fedcore.runs.tidy", "schedule": 3600.0},
    "dry-runs": {
        "task": "fedcore.governance.sweep_dry_runs",
        "schedule": 10.0,
        "options": {"expires": 10.0},
    },
    "remind": {"task": "fedcore.governance.remind", "schedule": 60.0, "options": {"expires": 60.0}},
}
CELERY_TIMEZONE = "UTC"

# --- people and passwords --------------------------------------------------------------------------------
AUTH_USER_MODEL = "governance.Person"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
SESSION_ENGINE = "fedcore.coordinator.governance.session_store"
FEDCORE_SECOND_FACTOR: str = env(
    "FEDCORE_SECOND_FACTOR", default="required" if FEDCORE_PRODUCTION else "optional"
)
if FEDCORE_SECOND_FACTOR not in ("required", "optional"):
    raise ImproperlyConfigured(
        f"FEDCORE_SECOND_FACTOR is {FEDCORE_SECOND_FACTOR!r}. Set it to `required` or `optional`, or unset it."
    )
CSRF_FAILURE_VIEW = "fedcore.coordinator.governance.pages.wrong.outdated"
LOGIN_URL = reverse_lazy("admin:login")
LOGIN_REDIRECT_URL = reverse_lazy("admin:index")
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_CLIENT_IP_CALLABLE = "fedcore.coordinator.governance.audit.origin.address_of"
AXES_LOCKOUT_CALLABLE = "fedcore.coordinator.api.errors.locked_out"
AXES_VERBOSE = False
AXES_SENSITIVE_PARAMETERS = [
    "username",
    "ip_address",
    "password",
    "token",
    "code",
    "otp",
    "csrfmiddlewaretoken",
]
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False

# --- notices by e-mail: off, and to the console where no server is named ---------------------------------
FEDCORE_EMAIL: bool = env.bool("FEDCORE_EMAIL", default=False)
vars().update(env.email("FEDCORE_EMAIL_URL", default="consolemail://"))
DEFAULT_FROM_EMAIL: str = env("FEDCORE_EMAIL_FROM", default="fedcore@localhost")
EMAIL_TIMEOUT = 20
FEDCORE_PUBLIC_URL: str = env("FEDCORE_PUBLIC_URL", default="")

# --- REST ------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["fedcore.coordinator.api.authentication.Authentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["fedcore.coordinator.api.parsers.SmallJSONParser"],
    # Of the addresses in X-Forwarded-For only that of one's own proxy is more than a visitor's claim.
    "NUM_PROXIES": 1 if FEDCORE_BEHIND_PROXY else 0,
    "DEFAULT_THROTTLE_RATES": {"login": env("FEDCORE_LOGIN_RATE", default="30/minute")},
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "fedcore.coordinator.api.errors.handle",
    "UNICODE_JSON": True,
}
KNOX_TOKEN_MODEL = "governance.ApiToken"  # noqa: S105 (a model, no secret)
REST_KNOX = {"TOKEN_TTL": timedelta(hours=10), "TOKEN_PREFIX": "fedcore_", "AUTO_REFRESH": False}
SPECTACULAR_SETTINGS = {
    "TITLE": "fedcore coordinator",
    "DESCRIPTION": "Catalogue, governance and runs. Owner hosts sign their requests; people use a token.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    # It takes a while to make, and shows visitors what there is to try.
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
    "SERVE_AUTHENTICATION": [
        "fedcore.coordinator.api.authentication.Authentication",
        "fedcore.coordinator.api.authentication.OfBrowser",
    ],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "ENUM_NAME_OVERRIDES": {
        "RequestStateEnum": "fedcore.coordinator.governance.access.RequestState",
        "RunStateEnum": "fedcore.coordinator.runs.states.RunState",
    },
}

# --- language, time, files -------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = USE_TZ = True
FORMAT_MODULE_PATH = "project.formats"
STATIC_URL = "static/"
STATIC_ROOT = Path(env("STATIC_ROOT", default=str(FEDCORE_DATA_DIR / "static")))
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = not FEDCORE_PRODUCTION
_static = "whitenoise.storage.CompressedManifestStaticFilesStorage"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": _static if FEDCORE_PRODUCTION else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env("LOG_LEVEL", default="WARNING")},
    # Django's own set-up would mail errors, with request bodies, instead of logging them.
    "loggers": {"django": {"handlers": [], "propagate": True}},
}
