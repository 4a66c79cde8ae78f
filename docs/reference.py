"""Write the reference pages from the code: plugins, hooks, policy, API, settings, codes.

`python -m docs.reference` writes them; a test fails when they differ from what it would write, so an option, hook,
policy key, setting or endpoint that is not documented cannot land.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from fedcore.owner import config
from fedcore.plugin_api import hookspecs
from fedcore.plugin_api.backends import LEAK_TEXTS, EncryptionBackend
from fedcore.plugin_api.registry import BUILT_IN, GROUPS, AllowedDistribution, Registry
from fedcore.plugin_api.steps import PreprocessingStep
from fedcore.wire.codes import EXPLANATIONS
from fedcore.wire.relay import RELAY_PATH

ROOT = Path(__file__).resolve().parents[1]
TARGET = Path(__file__).resolve().parent / "reference"


def plugins_page() -> str:
    """Every built-in plugin with its options."""
    registry = Registry.of_distributions([AllowedDistribution(BUILT_IN)])
    parts = ["# Plugins", "The built-in plugins, by group. Names and options are what run specs use."]
    for group in GROUPS:
        names = registry.names(group)
        parts += [f"## {group}"] + ([] if names else ["None is built in."])
        for name in names:
            parts += list(_plugin(registry.get(group, name)))
    return _joined(parts)


def hooks_page() -> str:
    """Every hook with its signature and text."""
    parts = ["# Hooks", "Everything that a plugin package can add, in `fedcore.plugin_api.hookspecs`."]
    for name, function in vars(hookspecs).items():
        if name.startswith("fedcore_"):
            parts += [
                f"## `{name}`",
                f"```python\ndef {name}{inspect.signature(function)}\n```",
                _text(function),
            ]
    return _joined(parts)


def policy_page() -> str:
    """Every key of `owner.toml`."""
    parts = ["# owner.toml", "The owner's policy and settings. What is not written is not allowed."]
    parts += [_section("", config.Config)]
    for title, section in _sections(config.Config):
        parts += [f"## {title}", _text(section), _section(title, section)]
    return _joined(parts)


def settings_page() -> str:
    """Every environment variable that the coordinator reads."""
    source = (ROOT / "project" / "settings.py").read_text()
    parts = [
        "# Settings",
        "Environment variables of the coordinator. The owner host reads `BROKER_URL` (else its embedded broker); the "
        "client reads `FEDCORE_CLIENT_HOME` (else `~/.fedcore`), `FEDCORE_PASSWORD` and `FEDCORE_OTP`.",
    ]
    rows = ["| variable | default |", "|---|---|"]
    for name, default in _settings(source):
        rows.append(f"| `{name}` | {f'`{default}`' if default else 'none'} |")
    return _joined([*parts, "\n".join(rows)])


def api_page() -> str:
    """Every endpoint of the coordinator, from its OpenAPI schema and the hosts' URLs."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    import django

    django.setup()
    from django.urls import get_resolver

    from fedcore.coordinator.relay.application import Relaying

    rows = ["| path | what |", "|---|---|"]
    for path, view in sorted(_endpoints(get_resolver().url_patterns)):
        rows.append(f"| `/{path}` | {_first_sentence(view)} |")
    rows.append(f"| `{RELAY_PATH}{{order_id}}` | {_first_sentence(Relaying)} |")
    lead = (
        "People authenticate with `Authorization: Token …` from `/api/login`; owner hosts sign each request. A running "
        "coordinator serves the full schema (OpenAPI) at `/api/schema` and a page to try it at `/api/docs`, to whoever "
        "is logged in."
    )
    return _joined(["# REST API", lead, "\n".join(rows)])


def codes_page() -> str:
    """Every code that a refusal or failure can have."""
    rows = ["| code | what it means, and what to do |", "|---|---|"]
    rows += [f"| `{code}` | {text} |" for code, text in EXPLANATIONS.items()]
    lead = "What leaves an owner's host on refusal or failure is one of these codes; the detail stays in its journal."
    return _joined(["# Codes", lead, "\n".join(rows)])


PAGES: dict[str, Callable[[], str]] = {
    "plugins.md": plugins_page,
    "hooks.md": hooks_page,
    "policy.md": policy_page,
    "api.md": api_page,
    "settings.md": settings_page,
    "codes.md": codes_page,
}


def main() -> None:
    """Write all pages."""
    TARGET.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (TARGET / name).write_text(page(), encoding="utf-8")
        print(f"docs/reference/{name}")


def _plugin(plugin: type[Any]) -> Iterator[str]:
    yield f"### `{plugin.name}` (version {plugin.version})"
    yield plugin.summary
    if issubclass(plugin, PreprocessingStep):
        yield f"Takes `{plugin.takes}`, gives `{plugin.gives}`."
    if issubclass(plugin, EncryptionBackend):
        leaks = "; ".join(LEAK_TEXTS[leak] for leak in sorted(plugin.leakage))
        owners = f"{plugin.minimum_owners} owner{'s' * (plugin.minimum_owners != 1)}"
        yield f"Shows: {leaks}. At least {owners}. Status: {plugin.status}."
        yield "\n".join(f"- {sentence}" for sentence in plugin.trust)
    fields = plugin.Options.model_fields
    if fields:
        yield _fields_table(plugin.Options)


def _fields_table(model: type[BaseModel]) -> str:
    rows = ["| option | default | what |", "|---|---|---|"]
    for name, field in model.model_fields.items():
        default = (
            "required" if field.is_required() else f"`{_shown(field.get_default(call_default_factory=True))}`"
        )
        rows.append(f"| `{name}` | {default} | {_cell(field.description)} |")
    return "\n".join(rows)


def _section(title: str, section: type[BaseModel]) -> str:
    return _fields_table(section)


def _sections(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in model.model_fields.items():
        for found in _models_in(field.annotation):
            repeated = "tuple" in str(field.annotation)
            inner = f"{prefix}{name}" + (".NAME" if "dict" in str(field.annotation) else "")
            yield (f"[[{inner}]]" if repeated else f"[{inner}]"), found
            yield from _sections(found, f"{inner}.")


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _settings(source: str) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[0] == "env" and node.args):
            continue
        default = next((ast.unparse(word.value) for word in node.keywords if word.arg == "default"), "")
        yield str(ast.literal_eval(node.args[0])), default.replace("|", "\\|")


def _endpoints(patterns: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if hasattr(pattern, "url_patterns"):
            if not path.startswith("admin"):
                yield from _endpoints(pattern.url_patterns, path)
        elif path.startswith("api/"):
            yield re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path), pattern.callback


def _first_sentence(view: Any) -> str:
    shown = getattr(view, "view_class", None) or getattr(view, "cls", None) or view
    return _cell(_text(shown).split("\n\n")[0]) or " ".join(_sentences_of_methods(shown))


def _sentences_of_methods(view: Any) -> Iterator[str]:
    for method in ("get", "post"):
        function = getattr(view, method, None)
        if function is not None and function.__doc__:
            first = _text(function).split("\n\n")[0]
            yield f"`{method.upper()}`: {_cell(first)}"


def _text(documented: Any) -> str:
    return textwrap.dedent(inspect.cleandoc(documented.__doc__ or "")).strip()


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def _shown(value: Any) -> str:
    if isinstance(value, BaseModel):
        return value.model_dump_json()
    return str(value) if value not in ((), "") else "empty"


def _joined(parts: list[str]) -> str:
    return "\n\n".join(part for part in parts if part).rstrip() + "\n"


if __name__ == "__main__":
    main()
