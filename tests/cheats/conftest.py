"""The range for the session, and the table of what happened on it at the end."""

import pytest

from tests.cheats.harness import Range

LINES: list[str] = []


@pytest.fixture(scope="session")
def shooting_range(tmp_path_factory) -> Range:
    return Range(tmp_path_factory.mktemp("cheats"))


@pytest.fixture
def table() -> list[str]:
    return LINES


def pytest_terminal_summary(terminalreporter):
    if LINES:
        terminalreporter.section("cheats: status, val_bpb, honest, gain, verdict")
        for line in LINES:
            terminalreporter.write_line(line)
