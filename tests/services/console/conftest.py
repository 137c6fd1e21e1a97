"""The command, run in this process."""

import sys

import pytest

from services.console import main as console
from services.console import summary


@pytest.fixture
def autoresearch(workplace, monkeypatch, capfd):
    """Runs the command in this process, without MLflow. Gives its exit code, stdout and stderr."""
    monkeypatch.setattr(summary, "record_run", lambda directory: None)

    def call(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["autoresearch", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            console.main()
        return caught.value.code or 0, *capfd.readouterr()

    return call
