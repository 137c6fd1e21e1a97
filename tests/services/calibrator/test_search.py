"""The search phase on simulated machines: what it finds, what it survives, what it never does."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest

from benchmarks.simulated_machines import HARDWARE, SimulatedMachine, World
from services.calibrator.envelope_model import Band, pass_tokens
from services.calibrator.measurement import Outcome, Probe
from services.calibrator.outlook import Failures, SearchInputs
from services.calibrator.projection import is_row
from services.calibrator.ranking import Ranked, in_order
from services.calibrator.search import Search, SearchResult, search
from services.calibrator.trials import FAILED
from shared.contracts import Rung, Shape, Status
from shared.experiment.presets import PRESETS
from shared.quality import QualityRow, QualityTable, published_rows
from shared.settings import CHECKOUT
from tests.services.calibrator.search_in_a_process import run

OFFERED: dict[str, Shape] = {name: PRESETS[name].shape for name in ("m5-tiny", "m5-small", "m5-balanced")}


def search_on(
    machine: SimulatedMachine, directory: Path, allowance_s: float = 250, rows: tuple[QualityRow, ...] = (), **changed
) -> SearchResult:
    inputs = SearchInputs(envelope=machine.envelope(OFFERED), presets=OFFERED, allowance_s=allowance_s, **changed)
    return search(inputs, QualityTable(rows, "corpus", hardware_key="here"), machine, directory)


def machine_with(name: str = "laptop", seed: int = 1, world: World | None = None, **changed) -> SimulatedMachine:
    calm = {"crashes": 0.0, "hangs": 0.0}
    return SimulatedMachine(replace(HARDWARE[name], **calm | changed), world or World(seed), seed)


def regret(machine: SimulatedMachine, result: SearchResult) -> float:
    inputs = SearchInputs(envelope=machine.envelope(OFFERED), presets=OFFERED, allowance_s=1)
    best = min(machine.bpb(shape, 300) for shape in inputs.space().candidates)
    return machine.bpb(result.ranked[0].shape, 300) / best - 1


@pytest.fixture(scope="module")
def unharmed(tmp_path_factory) -> SearchResult:
    return run(tmp_path_factory.mktemp("unharmed"))


@pytest.mark.parametrize(("moment", "number"), [("before", 1), ("after", 1), ("before", 3), ("after", 3)])
def test_a_killed_search_goes_on_where_it_was_and_measures_nothing_twice(moment, number, unharmed, tmp_path):
    killed = subprocess.run(
        [sys.executable, "-m", "tests.services.calibrator.search_in_a_process", str(tmp_path), moment, str(number)],
        cwd=CHECKOUT,
    )
    assert killed.returncode == -9
    result = run(tmp_path)
    measured = (tmp_path / "measured.txt").read_text().split()
    assert len(measured) == len(set(measured)) == len(result.outcomes) > number
    assert result == unharmed


def test_a_second_search_of_the_same_directory_measures_nothing(tmp_path):
    machine = machine_with()
    first = search_on(machine, tmp_path)
    again = machine_with(seed=1)
    assert search_on(again, tmp_path) == first
    assert again.clock_s == 0


def test_the_same_seed_measures_the_same(tmp_path):
    assert search_on(machine_with(), tmp_path / "one") == search_on(machine_with(), tmp_path / "two")


def test_every_model_is_measured_and_the_starts_come_first(tmp_path):
    start = PRESETS["m5-balanced"].shape
    result = search_on(machine_with(), tmp_path, starts=(start,))
    first = result.outcomes[0].probe.shape
    assert (first.d_model, first.seq_len, first.total_batch_size) == (start.d_model, start.seq_len, 12288)
    assert {outcome.probe.preset for outcome in result.outcomes} == {*OFFERED}


def test_a_start_runs_with_the_passes_that_are_fastest_here_not_with_the_largest(tmp_path):
    """As on a CPU, where four times the pass was four times slower and the first probe took it."""
    machine, start = machine_with(), PRESETS["m5-tiny"].shape
    inputs = SearchInputs(
        envelope=machine.envelope(OFFERED), presets={"m5-tiny": start}, starts=(start,), allowance_s=400
    )  # fmt: skip
    table = QualityTable((), "corpus", hardware_key="here")
    largest, *smaller = inputs.space().siblings(inputs.space().nearest(start).shape)
    measured = [
        machine.measure(Probe(preset="m5-tiny", shape=one.shape, seconds=5.0, rung=Rung.SMOKE), limit_s=1000)
        for one in (largest, smaller[1])
    ]
    known = [
        one.model_copy(update={"tok_per_sec": speed}) for one, speed in zip(measured, (2000.0, 8000.0), strict=True)
    ]
    assert Search(inputs, table, machine, tmp_path, known).next_probe().shape == smaller[1].shape


def test_a_start_runs_once_although_another_size_of_pass_looks_faster_when_its_speed_is_known(tmp_path):
    """A real search spent four of six probes on one model and batch, each with other passes."""
    machine, start = machine_with(), PRESETS["m5-small"].shape
    inputs = SearchInputs(envelope=machine.envelope(OFFERED), presets=OFFERED, starts=(start,), allowance_s=400)
    sizes = inputs.space().siblings(inputs.space().nearest(start).shape)
    speed_probes = [
        machine.measure(Probe(preset="m5-small", shape=one.shape, seconds=5.0, rung=Rung.SMOKE), limit_s=1000)
        for one in sizes
    ]
    known = [one.model_copy(update={"tok_per_sec": 8000.0}) for one in speed_probes]
    state = Search(inputs, QualityTable((), "corpus", hardware_key="here"), machine, tmp_path, known)
    first = state.next_probe()
    machine.outcomes[first.key] = machine.measure(first, limit_s=1000).model_copy(update={"tok_per_sec": 5000.0})
    state.measure(first)
    assert state.outlook.opening().candidate.preset != "m5-small"


def test_a_model_whose_speed_was_measured_for_a_few_seconds_still_gets_a_probe_of_its_own(tmp_path):
    """Steps enough to be a row, but nothing that tells what it learns in minutes."""
    machine = machine_with()
    inputs = SearchInputs(envelope=machine.envelope(OFFERED), presets=OFFERED, allowance_s=400)
    known = [
        machine.measure(Probe(preset=name, shape=shape, seconds=5.0, rung=Rung.SMOKE), limit_s=1000)
        for name, shape in OFFERED.items()
    ]
    assert any(is_row(one) for one in known)
    state = Search(inputs, QualityTable((), "corpus", hardware_key="here"), machine, tmp_path, known)
    assert {one.preset for one in state.outlook.untried_models()} == {*OFFERED}
    first = state.next_probe()
    costs = {
        one.preset: state.outlook.options(one)[0].cost_s
        for one in state.outlook.untried_models() if state.outlook.options(one)
    }  # fmt: skip
    assert first.preset == min(costs, key=costs.get)


def test_a_model_whose_first_probe_would_take_most_of_the_minutes_is_not_opened(tmp_path):
    machine = machine_with("two-cores")
    inputs = SearchInputs(envelope=machine.envelope(OFFERED), presets=OFFERED, allowance_s=150)
    state = Search(inputs, QualityTable((), "corpus", hardware_key="here"), machine, tmp_path, ())
    dear = [one for one in state.outlook.untried_models() if state.outlook.options(one)[:1]]
    costs = {one.preset: state.outlook.options(one)[0].cost_s for one in dear}
    opened = state.outlook.opening()
    assert all(cost > 0.3 * 150 for cost in costs.values()) == (opened is None)
    assert opened is None or costs[opened.candidate.preset] == min(costs.values())


def test_what_was_known_before_is_believed_and_not_measured_again(tmp_path):
    first = search_on(machine_with(), tmp_path / "first")
    machine = machine_with()
    inputs = SearchInputs(envelope=machine.envelope(OFFERED), presets=OFFERED, allowance_s=200)
    table = QualityTable((), "corpus", hardware_key="here")
    second = search(inputs, table, machine, tmp_path / "second", known=first.outcomes)
    assert {one.probe.key for one in first.outcomes}.isdisjoint(one.probe.key for one in second.outcomes)
    assert second.spent_s <= 200


def test_out_of_memory_is_told_as_a_constraint_and_rules_out_larger_passes(tmp_path):
    machine = machine_with("old-gpu")
    envelope = machine.envelope(OFFERED)
    machine.memory_mb = 0.2 * machine.memory_mb  # less than the envelope was told
    inputs = SearchInputs(envelope=envelope, presets=OFFERED, allowance_s=500)
    state = Search(inputs, QualityTable((), "corpus", hardware_key="here"), machine, tmp_path, ())
    while probe := state.next_probe():
        state.measure(probe)
    failed = [one for one in state.outlook.outcomes if one.status is Status.OUT_OF_MEMORY]
    assert failed
    told = [trial.constraints[FAILED] > 0 for trial in state.trials.told()]
    assert told == [not one.is_ok for one in state.outlook.outcomes]
    for first, later in pairs(state.outlook.outcomes):
        if first.status is Status.OUT_OF_MEMORY and first.probe.preset == later.probe.preset:
            assert pass_tokens(later.probe.shape) < pass_tokens(first.probe.shape)


def pairs(outcomes: tuple[Outcome, ...]):
    return [(first, later) for place, first in enumerate(outcomes) for later in outcomes[place + 1 :]]


def test_hanging_and_crashing_probes_do_not_end_it(tmp_path):
    machine = machine_with(hangs=0.3, crashes=0.2)
    result = search_on(machine, tmp_path, allowance_s=600)
    statuses = {outcome.status for outcome in result.outcomes}
    assert {Status.OK, Status.TIMED_OUT} <= statuses
    assert len({outcome.probe.shape for outcome in result.outcomes if not outcome.is_ok} & shapes(result)) == 0


def shapes(result: SearchResult) -> set[Shape]:
    return {one.shape for one in result.ranked}


def failing(status: Status, preset: str = "m5-balanced") -> list[Outcome]:
    """Two probes of it."""
    shapes = [OFFERED[preset], OFFERED[preset].model_copy(update={"device_batch_size": 1})]
    return [Outcome(probe=Probe(preset=preset, shape=one, seconds=20), status=status) for one in shapes]


def test_a_model_that_failed_twice_and_never_ran_is_given_up_but_not_for_its_memory():
    inputs = SearchInputs(envelope=machine_with().envelope(OFFERED), presets=OFFERED, allowance_s=1)
    others = [one for one in inputs.space().candidates.values() if one.preset == "m5-balanced"]
    ran = Outcome(probe=Probe(preset="m5-balanced", shape=others[0].shape, seconds=20), status=Status.OK, val_bpb=1.5)
    hung, smallest = failing(Status.TIMED_OUT), min(others, key=lambda one: pass_tokens(one.shape))
    assert all(Failures(hung).rule_out(one) for one in others)
    assert not Failures(hung[:1]).rule_out(smallest)
    assert not Failures([*hung, ran]).rule_out(others[0])
    assert not all(Failures(failing(Status.OUT_OF_MEMORY)[:1]).rule_out(one) for one in others)


def test_where_a_model_diverged_it_is_offered_no_smaller_step_unless_one_ran_as_long():
    inputs = SearchInputs(envelope=machine_with().envelope(OFFERED), presets=OFFERED, allowance_s=1)
    others = {
        one.shape.total_batch_size: one for one in inputs.space().candidates.values() if one.preset == "m5-small"
    }  # fmt: skip

    def ended(step: int, status: Status, seconds: float) -> Outcome:
        val_bpb = 1.5 if status is Status.OK else None
        probe = Probe(preset="m5-small", shape=others[step].shape, seconds=seconds)
        return Outcome(probe=probe, status=status, val_bpb=val_bpb, num_steps=100)

    diverged, short = ended(8192, Status.DIVERGED, 20), ended(4096, Status.OK, 5)
    assert Failures([diverged, short]).rule_out(others[6144])
    assert not Failures([diverged, short]).rule_out(others[12288])
    assert not Failures([diverged, ended(4096, Status.OK, 20)]).rule_out(others[6144])


def test_the_best_of_each_model_is_among_the_ranked(tmp_path):
    """Else ten batches of one model push out what a confirming run would compare it with."""
    result = search_on(machine_with(), tmp_path, allowance_s=400)
    assert {one.preset for one in result.ranked} == {*OFFERED}
    firsts = {one.preset: one.val_bpb for one in reversed(result.ranked)}
    assert all(one.val_bpb >= firsts[one.preset] - result.margin for one in result.ranked)


def test_a_shape_whose_run_went_astray_is_not_offered_again(tmp_path):
    machine, inputs = machine_with(), SearchInputs(
        envelope=machine_with().envelope(OFFERED), presets=OFFERED, allowance_s=400
    )  # fmt: skip
    shape = next(iter(inputs.space().candidates))
    probe = Probe(preset="m5-tiny", shape=shape, seconds=75)
    astray = machine.measure(probe, limit_s=1000).model_copy(update={"val_bpb": 7.0, "num_steps": 500})
    state = Search(inputs, QualityTable((), "corpus", hardware_key="here"), machine, tmp_path, [astray])
    assert shape not in state.outlook.offered
    assert state.outlook.projections.numbers == []


@pytest.mark.parametrize("fault", ["crashes", "hangs"])
def test_a_machine_on_which_nothing_runs_ends_without_a_candidate(fault, tmp_path):
    result = search_on(machine_with(**{fault: 1.0}), tmp_path, allowance_s=100)
    assert not any(outcome.is_ok for outcome in result.outcomes)
    assert result.stopped in ("allowance", "exhausted")


@pytest.mark.parametrize("allowance_s", [30, 200, 400])
def test_the_allowance_is_kept(allowance_s, tmp_path):
    machine = machine_with()
    result = search_on(machine, tmp_path, allowance_s=allowance_s)
    longest = max((outcome.wall_seconds for outcome in result.outcomes), default=0)
    assert result.spent_s == pytest.approx(machine.clock_s)
    assert result.spent_s <= allowance_s + 0.3 * longest
    assert result.ranked


def ranked(preset: str, val_bpb: float, band: Band, tok_per_sec: float = 1000.0) -> Ranked:
    return Ranked(
        preset=preset, shape=PRESETS["m5-tiny"].shape, val_bpb=val_bpb, spread=0.01, source="table",
        tok_per_sec=tok_per_sec, memory_mb=100, band=band,
    )  # fmt: skip


def test_equals_go_to_the_smaller_band_then_to_the_faster_and_a_loss_beyond_noise_to_neither():
    candidates = [
        ranked("lowest", 1.000, Band.PRESSURED, 9000),
        ranked("smaller", 1.002, Band.COMFORTABLE),
        ranked("smaller and faster", 1.003, Band.COMFORTABLE, 2000),
        ranked("worse", 1.006, Band.COMFORTABLE, 9999),
        ranked("worst", 1.007, Band.COMFORTABLE, 9999),
    ]
    order = [one.preset for one in in_order(candidates[::-1], margin=0.004)]
    assert order == ["smaller and faster", "smaller", "lowest", "worse", "worst"]
    assert in_order(candidates, margin=0.0)[0].preset == "lowest"


def test_rows_of_another_text_do_not_choose_the_model(tmp_path):
    """Published rows, on machines whose text is learned otherwise."""
    found = []
    for seed in range(200, 205):
        machine = machine_with("eight-cores", seed)
        result = search_on(machine, tmp_path / str(seed), allowance_s=204, rows=published_rows(), rung=Rung.PROBE)
        found.append(regret(machine, result))
    assert median(found) < 0.03


def test_a_prior_that_lies_is_overruled(tmp_path):
    machine = machine_with()
    liar = SimulatedMachine(machine.hardware, World(1, speedup=30.0), 1)
    rows = tuple(
        QualityRow(
            source="liar", dataset="corpus", shape=shape, num_tokens=tokens, rung=Rung.CHEAP, hardware_key="there",
            val_bpb=liar.world.bpb(shape, tokens),
        )
        for shape in OFFERED.values() for tokens in (3_000_000, 10_000_000, 30_000_000)
    )  # fmt: skip
    result = search_on(machine, tmp_path, allowance_s=900, rows=rows)
    assert regret(machine, result) < 0.03


def test_it_does_not_end_on_a_choice_that_never_ran_here_while_that_can_be_paid(tmp_path):
    machine = machine_with()
    inputs = SearchInputs(envelope=machine.envelope(OFFERED), presets=OFFERED, allowance_s=350)
    state = Search(inputs, QualityTable((), "corpus", hardware_key="here"), machine, tmp_path, ())
    while probe := state.next_probe():
        state.measure(probe)
    choice = state.result().ranked[0]
    assert choice.probes or not state.outlook.options(state.space.candidates[choice.shape])


def test_it_ends_early_when_it_is_sure(tmp_path):
    """Of one model and one length of rows: among hundreds of nearly equal shapes it takes hundreds of probes."""
    machine, offered = machine_with(), {"m5-tiny": OFFERED["m5-tiny"]}
    inputs = SearchInputs(
        envelope=machine.envelope(offered), presets=offered, seq_lens=(256,), allowance_s=20_000
    )  # fmt: skip
    result = search(inputs, QualityTable((), "corpus", hardware_key="here"), machine, tmp_path)
    assert result.stopped == "sure"
    assert result.sure > 0.9
    assert result.spent_s < 10_000
