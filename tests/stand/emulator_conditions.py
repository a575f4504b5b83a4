"""Conditions of templates. Loaded by `launch_emulator`.

A difference, which AWS has not and MiniStack 1.5.33 has: it does not know `Fn::Split` in a condition
(CloudFormation user guide, "Fn::Split", whose result `Fn::Select` takes; read on 26 November 2026).
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

Pinned = Callable[..., Callable[..., Any]]

MODULES = ("engine", "handlers", "changesets", "stacks")
"""Those that have the function under its own name."""


def install(pinned: Pinned) -> None:
    """Split before conditions are evaluated. `pinned` finds a function and stops where it has changed."""
    package = "ministack.services.cloudformation"
    engine: Any = import_module(f"{package}.engine")
    evaluate = pinned(engine, "_evaluate_conditions", "template", "params")

    def evaluated(template: dict[str, Any], params: dict[str, Any]) -> Any:
        conditions = _split(template.get("Conditions", {}), params)
        return evaluate({**template, "Conditions": conditions}, params)

    for name in MODULES:
        import_module(f"{package}.{name}").__dict__["_evaluate_conditions"] = evaluated


def _split(node: Any, params: dict[str, Any]) -> Any:
    """The node with a list for each split text, if the text is a parameter or is written there."""
    if isinstance(node, list):
        return [_split(each, params) for each in node]
    if not isinstance(node, dict):
        return node
    if list(node) == ["Fn::Split"]:
        separator, text = node["Fn::Split"]
        if isinstance(text, dict) and list(text) == ["Ref"]:
            text = params.get(text["Ref"], {}).get("Value")
        if isinstance(text, str):
            return text.split(separator)
    return {key: _split(each, params) for key, each in node.items()}
