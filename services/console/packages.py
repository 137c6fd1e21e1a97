"""Packages that a command needs and that are not installed: one line with the extra of pyproject.toml for it."""

from importlib.util import find_spec

EXTRAS = {
    "torch": "torch", "mlx": "mlx", "mlflow": "tracking", "redis": "fleet", "rq": "fleet", "pyarrow": "data",
    "tiktoken": "data", "rustbpe": "data", "huggingface_hub": "data", "matplotlib": "calibration",
    "scipy": "calibration", "optuna": "calibration",
}  # fmt: skip
"""which extra of pyproject.toml brings a package"""


def require(*extras: str) -> None:
    """Before work is given to another process, which would end with a traceback. ModuleNotFoundError as an import's."""
    for name, extra in EXTRAS.items():
        if extra in extras and find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def what_is_missing(error: ModuleNotFoundError) -> str:
    """The error itself again when the package is none of ours."""
    name = (error.name or "").split(".")[0]
    if name not in EXTRAS:
        raise error
    install = f"pip install -c constraints.txt -e '.[{EXTRAS[name]}]'"
    return f"the package {name} is not installed: run `make setup` or `uv sync`, or {install}"
