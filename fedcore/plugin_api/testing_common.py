"""What the contract tests of all kinds of plugins share. This module needs pytest."""

from __future__ import annotations

from typing import Any

import pytest

from fedcore.plugin_api.plugins import PLUGIN_API_VERSION, InvalidOptions, Plugin


def check_plugin(plugin: Plugin[Any]) -> None:
    """What holds for every plugin: it says who it is, and refuses options that it does not know."""
    assert plugin.name and plugin.version and plugin.summary
    assert "\n" not in plugin.summary
    assert plugin.api_version == PLUGIN_API_VERSION
    assert plugin.Options.model_json_schema()["type"] == "object"
    with pytest.raises(InvalidOptions) as caught:
        type(plugin).parse_options({"no_such_option": 1})
    assert "no_such_option" in caught.value.problems
