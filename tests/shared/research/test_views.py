"""What people and agents see of ideas: history, standings, upstream's table, and what holds on other machines."""

from datetime import UTC, datetime

import pytest

from shared.research import results_tsv
from shared.research.book import Ruling
from shared.research.history import rows, standings
from shared.research.noise import Noise
from shared.research.rule import Verdict
from shared.research.transfer import ranks, transferred
from tests.shared.research.makers import KEY, START, idea, known, result, results

NOISE = Noise(0.001, 8, "test")
GPU = {"hardware_key": "gpu"}


def on_two_machines(*effects: tuple[float, float]):
    """Ideas that gain so much on one machine and so much on another, two runs each."""
    pairs = [(START, [*results(START, 2.0, 2.0), *(result(START, i, 1.0, **GPU) for i in range(2))])]
    for number, (here, there) in enumerate(effects):
        one = idea(f"x = {number}")
        gpu = [result(one, i, 1.0 - there, run_id=f"gpu-{number}-{i}", **GPU) for i in range(2)]
        pairs.append((one, [*results(one, 2.0 - here, 2.0 - here), *gpu]))
    return known(*pairs)


def said(state) -> list[str]:
    return [one.said for one in transferred(state, lambda key: NOISE)]


def test_an_idea_that_gains_on_both_machines_holds_and_one_that_hurts_on_one_splits():
    assert said(on_two_machines((0.01, 0.02), (0.01, -0.02), (0.01, 0.0))) == ["holds", "splits", "unclear"]


def test_without_noise_transfer_is_unclear():
    state = on_two_machines((0.01, 0.02))
    assert [one.said for one in transferred(state, lambda key: None)] == ["unclear"]


def test_numbers_of_two_machines_are_compared_only_as_gains_and_ranks():
    state = on_two_machines((0.01, 0.02), (0.02, 0.03), (0.03, 0.05))
    (agreed,) = ranks(transferred(state, lambda key: NOISE))
    assert (agreed.first, agreed.second, agreed.num_ideas) == ("cpu-test", "gpu", 3)
    assert agreed.tau == pytest.approx(1.0)


def test_a_gain_from_more_tokens_is_told_apart():
    faster = idea("fast = 1")
    base = [result(START, i, 2.0, total_tokens_M=100.0, **where) for where in ({}, GPU) for i in range(2)]
    runs = [result(faster, i, 1.9, total_tokens_M=150.0, **where) for where in ({}, GPU) for i in range(2)]
    (one,) = transferred(known((START, base), (faster, runs)), lambda key: NOISE)
    assert [gain.tokens for gain in one.gains] == [1.5, 1.5]


def kept(one, *values: float, memory: float):
    runs = [result(one, index, value, peak_vram_mb=memory) for index, value in enumerate(values)]
    ruling = Ruling(
        idea=one.id, key=KEY, verdict=Verdict.KEEP, reason="", published=values[1], sigma=0.001, sigma_seeds=8,
        runs=tuple(run.run_id for run in runs), pool=(f"{START.id}-0", f"{START.id}-1"), made_at=datetime.now(UTC),
    )  # fmt: skip
    return (one, runs), ruling


def test_standings_list_what_nothing_beats_in_both_score_and_memory():
    base = [result(START, index, 2.0, peak_vram_mb=100.0) for index in range(2)]
    large, first = kept(idea("large = 1"), 1.98, 1.981, memory=300.0)
    small, second = kept(idea("small = 1"), 1.99, 1.991, memory=50.0)
    wasteful, third = kept(idea("waste = 1"), 1.985, 1.986, memory=400.0)
    found = standings(known((START, base), large, small, wasteful, rulings=(first, second, third)))
    assert [row.idea.note for row in found] == ["large = 1", "small = 1"]


def test_upstreams_table_has_a_line_for_each_idea_that_was_run(tmp_path):
    crashing, waiting = idea("crash = 1"), idea("wait = 1")
    state = known((START, results(START, 2.0)), (crashing, results(crashing, None)), (waiting, []))
    results_tsv.write(tmp_path / "results.tsv", rows(state))
    header, *lines = [line.split("\t") for line in (tmp_path / "results.tsv").read_text().splitlines()]
    assert header == list(results_tsv.HEADER)
    assert [line[3] for line in lines] == ["keep", "crash"]
    assert lines[1][1:3] == ["0.000000", "0.0"]


def test_appended_lines_get_a_header_once_and_no_line_end_of_a_note_gets_in(tmp_path):
    path = tmp_path / "results.tsv"
    for note in ("first", "second\nwith a\ttab"):
        results_tsv.append(path, results_tsv.line("a" * 64, 1.5, 2048.0, "keep", note))
    assert path.read_text().splitlines() == [
        "commit\tval_bpb\tmemory_gb\tstatus\tdescription",
        "aaaaaaa\t1.500000\t2.0\tkeep\tfirst",
        "aaaaaaa\t1.500000\t2.0\tkeep\tsecond with a tab",
    ]
