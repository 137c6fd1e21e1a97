"""The stack of a target as compose reads it: what a service says, over what it extends. Needs no engine."""

from pathlib import Path

import yaml

from shared.settings import CHECKOUT

COMPOSE = CHECKOUT / "compose"


def stack_of(target: str) -> dict[str, dict]:
    """{service: its block}; variables other than TARGET stay as they are written."""
    services = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
    return {name: _resolved(block, target) for name, block in services.items()}


def _resolved(block: dict, target: str) -> dict:
    extends = block.get("extends")
    if extends is None:
        return block
    path = Path(COMPOSE, extends["file"].replace("${TARGET}", target))
    below = yaml.safe_load(path.read_text())["services"][extends["service"]]
    own = {name: value for name, value in block.items() if name != "extends"}
    return _over(own, _resolved(below, target))


def _over(upper: dict, lower: dict) -> dict:
    both = {
        name: _over(upper[name], lower[name]) for name in upper.keys() & lower.keys() if isinstance(upper[name], dict)
    }
    return {**lower, **upper, **both}
