"""What every plugin has: a name, a version, a one-line summary, and typed options."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

PLUGIN_API_VERSION = 1


class Options(BaseModel):
    """Base class of a plugin's options: frozen, and unknown names are refused.

    The fields, their bounds and their descriptions give the JSON schema of the API, the form of the admin,
    and the validation at the owner.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class InvalidOptions(ValueError):
    """Options that do not fit a plugin. `problems` maps each option to what is wrong with it, all at once."""

    def __init__(self, plugin: str, problems: Mapping[str, str]) -> None:
        self.plugin = plugin
        self.problems = dict(problems)
        listed = "; ".join(f"{option}: {problem}" for option, problem in problems.items())
        super().__init__(f"Invalid options for plugin {plugin!r}: {listed}")


SomeOptions = TypeVar("SomeOptions", bound=Options)


class Plugin(ABC, Generic[SomeOptions]):
    """Base class of all plugins. A subclass sets the class variables and nests or names its `Options`.

    `api_version` is the version of this API that the plugin was written for.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    summary: ClassVar[str]
    api_version: ClassVar[int] = PLUGIN_API_VERSION
    Options: ClassVar[type[Any]] = Options

    def __init__(self, options: SomeOptions | Mapping[str, Any] | None = None) -> None:
        """Take options as an instance of `Options` or as plain values. Raises `InvalidOptions`."""
        self.options: SomeOptions = self.parse_options(options or {})

    @classmethod
    def parse_options(cls, values: Any) -> Any:
        """The typed options from plain values; every mistake is in the one `InvalidOptions` raised."""
        if isinstance(values, cls.Options):
            return values
        try:
            return cls.Options.model_validate(values)
        except ValidationError as error:
            problems = {
                ".".join(map(str, problem["loc"])) or "options": problem["msg"]
                for problem in error.errors(include_url=False)
            }
            raise InvalidOptions(cls.name, problems) from None

    @classmethod
    def warm(cls) -> None:
        """Load what the first use would load, such as compiled code. A worker calls it before it forks."""

    def __repr__(self) -> str:
        """Name and the names of its options: a value may be a password, and this goes to logs."""
        names = ", ".join(type(self.options).model_fields)
        return f"<{type(self).__name__} {self.name}({names})>"
