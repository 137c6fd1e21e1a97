"""What people and agents see of ideas: history, standings, upstream's table, and what holds on other machines."""

from datetime import UTC, datetime

import pytest

from shared.contracts import Budget, Unranked
from shared.research import results_tsv
from shared.research.book import Ruling
from shared.research.history import rows, standings
from shared.research.noise import Noise
from shared.research.report import write_report
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


def test_standings_list_the_best_and_nothing_for_the_memory_that_recipes_report():
    base = [result(START, index, 2.0, peak_vram_mb=100.0) for index in range(2)]
    large, first = kept(idea("large = 1"), 1.98, 1.981, memory=300.0)
    small, second = kept(idea("small = 1"), 1.99, 1.991, memory=50.0)
    wasteful, third = kept(idea("waste = 1"), 1.985, 1.986, memory=400.0)
    found = standings(known((START, base), large, small, wasteful, rulings=(first, second, third)))
    assert [row.idea.note for row in found] == ["large = 1"]


SLOW = {"unranked": (Unranked.OVER_BUDGET,), "training_seconds": 330.0}


def test_a_number_that_does_not_count_is_shown_with_its_reason_and_stands_nowhere_else(tmp_path):
    lucky, start = idea("lucky = 1"), results(START, 2.0, 2.0)
    state = known((START, start), (lucky, [result(lucky, 0, 1.0, **SLOW)]))
    row = rows(state)[-1]
    over = "over_budget: 330 s, so 30 s over the budget, where 2.35 s are allowed"
    assert (row.state, row.reason, row.val_bpb, row.effect) == ("no run counts", over, None, None)
    (told,) = row.as_json()["not_counted"]
    assert told == {
        "run_id": f"{lucky.id}-0", "val_bpb": 1.0, "why": over, "key": KEY.model_dump(mode="json"),
    }  # fmt: skip
    assert row.hardware_keys == {KEY.hardware_key}
    assert [one.idea.id for one in standings(state)] == [START.id]
    assert state.best(KEY) == (START, 2.0)
    results_tsv.write(tmp_path / "results.tsv", rows(state))
    assert "1.000000" not in (tmp_path / "results.tsv").read_text()


def test_a_run_that_does_not_count_beside_ones_that_do_changes_none_of_their_numbers():
    one = idea()
    other_budget = {"budget": Budget(seconds=20), "unranked": (Unranked.BUSY_MACHINE,), "training_seconds": 20.0}
    runs = [result(one, 0, 1.9), result(one, 1, 1.0, **SLOW), result(one, 0, 1.5, run_id="again")]
    state = known((START, results(START, 2.0)), (one, [*runs, result(one, 2, 0.5, run_id="short", **other_budget)]))
    (row,) = rows(state, KEY)[1:]
    assert (row.val_bpb, row.num_runs, row.effect) == (1.9, 1, pytest.approx(0.1))
    assert {told.run_id: told.why.split(":")[0] for told in row.not_counted} == {
        f"{one.id}-1": "over_budget", "again": "repeated", "short": "busy_machine",
    }  # fmt: skip


def test_a_run_that_counts_for_another_key_is_told_there_alone():
    state = on_two_machines((0.01, 0.02))
    assert [row.not_counted for row in rows(state)] == [()] * 4


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


def test_steps_stand_beside_val_bpb_as_the_median_of_the_runs(tmp_path):
    base = [result(START, index, 2.0, num_steps=steps) for index, steps in enumerate((100, 90, 400))]
    state = known((START, base), (idea(), []))
    started, waiting = rows(state)
    assert (started.num_steps, waiting.num_steps) == (100, None)
    assert started.as_json()["num_steps"] == 100
    text = write_report(tmp_path, state, lambda key: NOISE)[0].read_text()
    assert "| val_bpb | steps | reported memory |" in text
    assert "| 2.000000 | 100 |" in text
