"""Commands about ideas as an agent types them, in this process; stages take no time (tests/fleet_stage.py)."""

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from services.console import main, proposals, summary
from shared.settings import CHECKOUT, settings
from shared.stages.executors import NativeExecutor
from tests.platform_defaults import on_a_cpu

RECIPE = "def build(shape, vocab_size, seed, device):\n    ...\n\n\nQUALITY = {quality}\n"
TERMS = ["--preset", "m5-tiny", "--dataset", "words", "--time-budget", "0.05", "--rung", "cheap"]


class Said:
    def __init__(self, code: int, out: str, err: str):
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        """The last line of the output."""
        return json.loads(self.out.splitlines()[-1])


def typing(monkeypatch, capsys) -> Callable[..., Said]:
    """Runs a command and says what it printed. The exit code has to be the expected one."""

    def autoresearch(*arguments: str, code: int | None = 0) -> Said:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["autoresearch", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main.main()
        captured = capsys.readouterr()
        said = Said(end.value.code or 0, captured.out, captured.err)
        assert code in (None, said.code), (arguments, said.code, said.out, said.err)
        return said

    return autoresearch


def fast_stages(monkeypatch) -> None:
    """Experiments of this process: nothing is trained, nothing recorded in MLflow."""

    def command(self, stage, arguments):
        return [sys.executable, "-I", "-S", str(CHECKOUT / "tests" / "fleet_stage.py"), stage, *arguments]

    monkeypatch.setattr(NativeExecutor, "command", command)
    monkeypatch.setattr(summary, "record_run", lambda directory: None)
    monkeypatch.setenv("FAST_DEVICE", "cpu")


def alone(monkeypatch, tmp_path) -> None:
    """No hub is known here, the best device is the CPU, and seeds are the same in each run of a test."""
    on_a_cpu(monkeypatch)
    monkeypatch.setattr(proposals, "new_nonce", lambda: "0" * 16)
    for name in ("ARE_REDIS_URL", "ARE_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ARE_ENV_FILE", str(tmp_path / "no.env"))
    settings.cache_clear()


def with_hub(monkeypatch, tmp_path, url: str) -> None:
    alone(monkeypatch, tmp_path)
    monkeypatch.setenv("ARE_REDIS_URL", url)
    settings.cache_clear()
