"""bench: what is timed is checked, and who is faster than the device did not do the work."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from kernels import catalog
from kernels.correctness import expected_layout
from kernels.records import DType, Status
from services.kernel_lab import bench
from services.kernel_lab.desk import Desk, scratch
from services.kernel_lab.limits import DeviceLimit, Work, device_limit, work_of
from services.kernel_lab.placement import mix_in
from services.kernel_lab.source_rules import find_breach
from services.kernel_lab.surroundings import surroundings
from services.kernel_lab.timing import Slots, draw_visit, num_slots
from shared.kernel_lab.job import Bench, LabStatus, read_doing
from shared.machine.hardware import NvidiaProbe, nvidia_hardware
from shared.stages.executors import NativeExecutor
from tests.services.kernel_lab.conftest import subject_from

CHEATS = {path.stem: path for path in sorted((Path(__file__).parent / "timed_cheats").glob("*.py"))}
WORKS_UNTIMED = ("computes_ahead", "slows_the_plain_op_down")
HELD_ELSEWHERE = ("skips_what_is_taken_off",)
"""right results, and a false speed: docs/kernel-lab.md says why, and what holds it"""
LATE = ("answers_before_the_last_calls", "finishes_while_the_other_is_timed")
"""seen as they write, or by what was not there yet"""
HACKS = {
    **dict.fromkeys(WORKS_UNTIMED, "while it was not timed"),
    "writes_over_its_input": "it changed its input x",
}
"""right results; others are INCORRECT_NUMERICAL"""
UNKNOWN = DeviceLimit(None, None, None, "not known")
H100 = nvidia_hardware(NvidiaProbe("NVIDIA H100 80GB HBM3", (9, 0), 80 << 30, "GPU-1", "570"), "cuda:0", 0)


@pytest.fixture
def measured(home, tmp_path, monkeypatch):
    """measured(path) -> what bench found, at a size of the lab's own choosing."""

    def measure(path, limit=UNKNOWN):
        monkeypatch.setattr(bench, "device_limit", lambda work, hardware: limit)
        monkeypatch.setattr(bench, "find_breach_with_imports", lambda source, op: "")
        around = surroundings("cpu", tmp_path / "work")
        subject = subject_from(path)
        workload = catalog.workload(subject.definition, {"N": 64, "C": 96}, DType.FLOAT32)
        order = Bench(candidate="x", against="eager", rounds=8, limit_s=60, memory_mb=2048)
        with scratch(around.work):
            (found,) = bench.measure(subject, (workload,), around, order)
        return found

    return measure


@pytest.fixture
def honest(tmp_path):
    path = tmp_path / "kernel.py"
    path.write_text(catalog.load_source("rmsnorm", "torch_reference.py"))
    return path


def test_an_honest_kernel_gets_times_and_is_checked_in_its_timed_calls(measured, honest):
    found = measured(honest)
    assert found.trace.evaluation.status is Status.PASSED, found.trace.evaluation.log
    used = found.trace.evaluation.correctness.details
    assert max(used.values()) <= 0.5, "it loses what the plain framework loses, of which twice is allowed"
    (bout,) = found.bouts
    assert 0 < bout.candidate.low <= bout.candidate.value <= bout.candidate.high
    assert found.trace.evaluation.performance.speedup_factor == bout.speedup.value


@pytest.mark.cheats
def test_faster_than_the_device_can_be_is_a_reward_hack(measured, honest):
    found = measured(honest, DeviceLimit(1e6, 1e6, None, "a very slow device"))
    assert found.trace.evaluation.status is Status.REWARD_HACK
    assert "too good to be true" in found.trace.evaluation.log


@pytest.mark.cheats
@pytest.mark.parametrize("name", HACKS)
def test_a_kernel_that_is_right_and_fast_in_another_way_is_a_reward_hack(name, measured):
    found = measured(CHEATS[name])
    assert found.trace.evaluation.status is Status.REWARD_HACK, found.trace.evaluation.log
    assert HACKS[name] in found.trace.evaluation.log
    assert found.bouts == ()


@pytest.mark.cheats
@pytest.mark.parametrize("name", LATE)
def test_a_kernel_whose_results_come_late_is_not_timed(name, measured):
    found = measured(CHEATS[name])
    assert found.trace.evaluation.status in (Status.REWARD_HACK, Status.INCORRECT_NUMERICAL)
    assert found.bouts == ()


@pytest.mark.cheats
@pytest.mark.parametrize("name", HELD_ELSEWHERE)
def test_beside_a_time_that_may_be_false_stands_what_was_taken_off(name, measured):
    found = measured(CHEATS[name])
    assert found.trace.evaluation.status is Status.PASSED, "if it is rejected now, docs/kernel-lab.md says too little"
    (bout,) = found.bouts
    assert bout.taken_off_s > 0


@pytest.mark.parametrize("name", WORKS_UNTIMED)
def test_threads_are_found_in_the_source(name):
    assert "multiprocessing" in find_breach(CHEATS[name].read_bytes())


@pytest.mark.cheats
@pytest.mark.parametrize("name", [name for name in CHEATS if name not in (*HACKS, *LATE, *HELD_ELSEWHERE)])
def test_a_kernel_that_is_fast_because_it_skips_work_is_not_timed(name, measured):
    found = measured(CHEATS[name])
    assert found.trace.evaluation.status is Status.INCORRECT_NUMERICAL, found.trace.evaluation.log
    assert found.bouts == ()


@pytest.mark.cheats
def test_a_kernel_that_is_wrong_only_in_a_later_size_of_the_definition_is_not_accepted(home, tmp_path):
    """All sizes of a test are small, so nothing else asks for it there."""
    path = tmp_path / "kernel.py"
    path.write_text(catalog.load_source("rmsnorm", "torch_reference.py") + WRONG_IN_A_LATER_SIZE)
    subject = subject_from(path)
    of = subject.definition.model_copy(update={"bench_axes": ({"N": 64, "C": 96}, {"N": 2048, "C": 512})})
    subject, around = replace(subject, definition=of), surroundings("cpu", tmp_path / "work")
    workloads, cut = bench.pick_workloads(subject, around, None)
    assert [one.axes for one in workloads] == [{"N": 64, "C": 96}, {"N": 1024, "C": 512}]
    assert "cut from 2048 to 1024" in cut
    order = Bench(candidate="x", against="eager", rounds=6, limit_s=60, memory_mb=2048)
    with scratch(around.work):
        first, second = bench.measure(subject, workloads, around, order)
    assert first.trace.evaluation.status is Status.PASSED, first.trace.evaluation.log
    assert second.trace.evaluation.status is Status.INCORRECT_NUMERICAL
    said = bench._answer(order, subject, around, (first, second), cut)
    assert said.status is LabStatus.FAILED
    assert "INCORRECT_NUMERICAL" in said.headline
    assert "rmsnorm-N1024-C512-float32" in said.headline
    assert said.data["bouts"] == {}, "nothing of it counts for a promotion"


WRONG_IN_A_LATER_SIZE = """

right = rmsnorm


def rmsnorm(x):
    return right(x) * (0.5 if x.shape[-1] == 512 else 1)
"""


def test_where_the_plain_op_fails_it_is_not_said_of_the_candidate(measured, honest, tmp_path, monkeypatch):
    """In a process of the lab a kernel's module is called candidate."""
    raising = honest.read_text() + '\nif __name__ == "candidate":\n    raise RuntimeError("no room")\n'
    (tmp_path / "torch_reference.py").write_text(raising)
    monkeypatch.setattr(catalog, "folder", lambda op: tmp_path)
    with pytest.raises(ValueError, match=r"the plain op fails here, so nothing is compared with it: .*no room"):
        measured(honest)


def test_when_the_time_is_over_it_ends_and_says_what_was_left_out(home, honest, monkeypatch):
    desk, subject = Desk("0" * 16, NativeExecutor()), subject_from(honest)
    sizes = ({"N": 64, "C": 96}, {"N": 32, "C": 48})
    workloads = tuple(catalog.workload(subject.definition, one, DType.FLOAT32) for one in sizes)
    monkeypatch.setattr(bench, "pick_workloads", lambda *given: (workloads, ""))
    monkeypatch.setattr(Desk, "subject", lambda desk, candidate: subject)
    order = Bench(candidate="x", device="cpu", against="eager", minutes=1e-6, memory_mb=2048)
    said = bench.answer(order, desk)
    assert said.status is LabStatus.OK
    *_, fewer, left_out = said.lines
    assert "rmsnorm-N64-C96-float32: 5 of 15 rounds" in fewer
    assert "not measured: rmsnorm-N32-C48-float32" in left_out
    assert said.data["not_known"][-2:] == [fewer, left_out]
    (event,) = desk.ledger.read()
    assert event.details["chosen"], "it was not checked in every size, so it is no evidence"
    assert read_doing(desk.job_id) == "rmsnorm-N64-C96-float32: round 5 of 15"


def test_time_that_a_size_does_not_need_is_for_the_next():
    matches = [SimpleNamespace(order=Bench(candidate="x", rounds=rounds)) for rounds in (15, 5)]
    order = Bench(candidate="x", minutes=2)
    first, second = bench.deadlines(matches, order)
    assert second - first == pytest.approx(30.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_mixed_in_follows_the_size_of_results_and_not_their_sign(dtype):
    results = torch.tensor([1.0, -1.0, 1.49, 1.51, -1.51, 0.0, float("nan")])
    numbers = torch.full((8,), 1.25, dtype=dtype)
    mix_in(numbers, results)
    assert numbers.tolist() == [1.25, 1.25, 1.25, 1.75, 1.75, 1.25, 1.75, 1.25]


def test_the_limit_of_a_device_is_its_bytes_over_its_bandwidth_or_its_products_over_its_peak():
    of = catalog.definition("rmsnorm")
    work = work_of(
        of, catalog.workload(of, {"N": 1024, "C": 512}, DType.BFLOAT16), catalog.load_reference("rmsnorm", "torch")
    )
    assert work.num_bytes == 4 * 1024 * 512 * 2, "x, dy, y and dx, each once"
    limit = device_limit(work, H100)
    assert limit.honest_s == pytest.approx(work.num_bytes / 3.35e12)
    assert limit.is_beaten_by(0.9 * limit.honest_s)
    assert not limit.is_beaten_by(limit.honest_s)
    products = device_limit(Work(1, 10**12), H100)
    assert products.honest_s == pytest.approx(1 / 989)
    assert not products.is_beaten_by(0.6 / 989), "a symmetric product may leave out a half"


def test_the_products_of_an_op_are_counted_forward_and_backward():
    of = catalog.definition("fused_mlp")
    axes = {"N": 64, "C": 32, "F": 128}
    work = work_of(of, catalog.workload(of, axes, DType.BFLOAT16), catalog.load_reference("fused_mlp", "torch"))
    assert work.flops == 3 * 2 * (2 * 64 * 32 * 128)


def test_where_the_limit_is_not_known_nobody_beats_it():
    assert not UNKNOWN.is_beaten_by(0.0)


def test_input_sets_are_more_than_the_cache_holds_and_fit_in_memory():
    assert num_slots(1 << 20, cache_bytes=50 << 20, memory_bytes=1 << 30) * (1 << 20) > 50 << 20
    assert num_slots(1 << 30, cache_bytes=50 << 20, memory_bytes=1 << 30) == 3
    assert num_slots(100, cache_bytes=50 << 20, memory_bytes=1 << 30) == 64


def test_every_input_set_is_visited_once_in_secret_order_and_touched_in_every_row():
    of = catalog.definition("rmsnorm")
    slots = Slots(of, catalog.workload(of, {"N": 80, "C": 32}, DType.FLOAT32), 5)
    layout = expected_layout(of, slots.workload)
    results = {name: torch.empty(one.shape) for name, one in layout.items()}
    visits = [draw_visit(slots, results) for _ in range(6)]
    assert all(sorted(visit.slots) == [*range(5)] for visit in visits)
    assert len({visit.slots for visit in visits}) > 1
    assert len({visit.starts for visit in visits}) == 6
    assert len({visit.links for visit in visits}) == 6
    assert {visit.linked for visit in visits} == {1}, "the gradient, which is made last"
    reached = [link + visit.link_step * (slots.touch_numbers - 1) for visit in visits for link in visit.links]
    assert all(80 * 32 - 2 * 32 <= last < 80 * 32 for last in reached), "all over the result"
    before = [slots.target(slot).clone() for slot in range(5)]
    visit = visits[0]
    for slot, start, numbers in zip(visit.slots, visit.starts, visit.numbers, strict=True):
        touched = slots.after_touch(slot, start, numbers)["x"].detach().view(-1)
        changed = (touched != before[slot]).view(80, 32)
        assert int(changed.sum()) == slots.touch_numbers == 80 * 32 // 31
        assert int(changed.any(-1).sum()) >= 79
        assert int(changed.any(0).sum()) == 32, "in another column each"
        assert torch.equal(slots.target(slot), before[slot]), "it is another tensor"
    slots.refresh()
    assert all((slots.target(slot) != before[slot]).float().mean() > 0.99 for slot in range(5))
