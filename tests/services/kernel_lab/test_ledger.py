"""The ledger is whole whatever happens to who writes it."""

import subprocess
import sys

import pytest

from services.kernel_lab.ledger import Ledger, of_candidate
from shared.settings import CHECKOUT
from tests.services.kernel_lab.kill_me_writing import event


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger.jsonl")


def test_what_was_appended_is_read_in_order(ledger):
    appended = [ledger.append(event("rmsnorm/a", number)) for number in range(3)]
    assert Ledger(ledger.path).read() == appended


def test_a_torn_last_line_is_passed_over_counted_and_ended_by_the_next_writer(ledger):
    first = ledger.append(event("rmsnorm/a"))
    with open(ledger.path, "ab") as file:
        file.write(first.model_dump_json().encode()[:50])
    assert (ledger.read(), ledger.unreadable) == ([first], 1)
    second = ledger.append(event("rmsnorm/b"))
    assert (ledger.read(), ledger.unreadable) == ([first, second], 1)


def test_a_line_that_was_edited_to_nonsense_hides_no_other(ledger):
    kept = [ledger.append(event(f"rmsnorm/{name}")) for name in "abc"]
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    ledger.path.write_bytes(lines[0] + b'{"kind": "verify"}\n\xff\xfe\n' + lines[2])
    assert (ledger.read(), ledger.unreadable) == ([kept[0], kept[2]], 2)


def test_evidence_is_of_the_very_bytes_on_the_very_hardware(ledger):
    here = ledger.append(event("rmsnorm/a"))
    ledger.append(event("rmsnorm/a", candidate_sha256="c" * 64))
    ledger.append(event("rmsnorm/a", hardware_key="cpu-other"))
    assert of_candidate(ledger.read(), "a" * 64, "cpu-test") == [here]


def test_writers_that_are_killed_lose_nothing_that_they_had_said(ledger):
    """Two at once, killed in the middle of writing."""
    argv = [sys.executable, "-m", "tests.services.kernel_lab.kill_me_writing", str(ledger.path)]
    writers = {
        name: subprocess.Popen([*argv, name], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) for name in ("x", "y")
    }
    try:
        for writer in writers.values():
            for _ in range(8):
                writer.stdout.readline()
    finally:
        for writer in writers.values():
            writer.kill()
    said = {name: 8 + len(writer.communicate()[0].splitlines()) for name, writer in writers.items()}
    last = ledger.append(event("z"))
    events = ledger.read()
    assert ledger.unreadable <= 1
    assert events[-1] == last
    for name in writers:
        numbers = [one.headline for one in events if one.candidate == name]
        assert numbers[: said[name]] == [f"event {number}" for number in range(said[name])]
