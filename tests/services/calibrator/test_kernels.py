"""Phase tune asks the lab about kernels that were written elsewhere, and the trainer about what the lab has proven."""

from types import SimpleNamespace

import pytest

from kernels import catalog, promotion
from services.calibrator import kernels, tune
from services.calibrator.kernels import Lab, candidates, proven
from services.calibrator.measurement import Outcome
from services.calibrator.tune import Tuned
from services.calibrator.work import Clock
from shared.contracts import Status
from shared.files import sha256_file
from shared.kernel_lab.job import LabAnswer, LabJob, LabStatus, leave_answer
from shared.runs.shipped import listed_kernels
from shared.settings import settings

GB10 = SimpleNamespace(
    engine="torch", target="gb10", device="cuda:0", presets=("m5-tiny",), hardware_key="gb10-of-a-test"
)
NONE = [{"evidence": None}] * 3


class LabExecutor:
    """A kernel lab that knows its answers: {candidate: (is right, speed-up or None)}."""

    def __init__(self, knows, clock=lambda: 0.0, takes_s=0.0):
        self.knows, self.asked, self.takes_s, self.time_s = knows, [], takes_s, 0.0

    def now(self):
        return self.time_s

    def execute(self, stage, arguments, watch):
        assert stage == "kernel-lab"
        job = LabJob.model_validate_json(arguments[0])
        assert job.holds_device, "the calibration has the device's lock"
        self.asked.append((job.command.command, job.command.candidate))
        self.time_s += self.takes_s
        watch(stage)
        leave_answer(job, self._answer(job.command))
        return 0, ""

    def _answer(self, command):
        is_right, speedup = self.knows.get(command.candidate, (False, None))
        if command.command == "promotion-check":
            return LabAnswer(command="x", status=LabStatus.FAILED, headline="", data={"requirements": NONE})
        if command.command == "verify":
            return LabAnswer(command="x", status=LabStatus.OK if is_right else LabStatus.FAILED, headline="")
        verdict = "faster" if speedup else "slower"
        bouts = {"eager": {"verdict": "faster", "speedup": {"value": 9.0}},
                 "compiled": {"verdict": verdict, "speedup": {"value": speedup or 0.5}}}  # fmt: skip
        return LabAnswer(command="x", status=LabStatus.OK, headline="", data={"bouts": bouts})


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ARE_HOME", str(tmp_path))
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


def lab_of(knows, calibration=GB10, **options):
    executor = LabExecutor(knows, **options)
    return Lab(calibration, executor, executor.now), executor


def test_candidates_are_the_kernels_that_are_native_to_the_device():
    languages = {name.split("/")[1].split("_")[0] for name in candidates(GB10)}
    assert languages == {"triton"}
    on_mac = SimpleNamespace(engine="mlx", target="mac", device="metal", hardware_key="a-mac")
    assert all(name.split("/")[1].startswith("metal") for name in candidates(on_mac))
    assert candidates(SimpleNamespace(engine="torch", target="cpu", device="cpu", hardware_key="a-cpu")) == []


def test_a_kernel_that_is_neither_shipped_nor_promoted_here_is_no_candidate(monkeypatch, tmp_path):
    """A calibration looks at speed alone, and nobody has looked at what the trainer learns with it."""
    name, own = "fused_mlp/triton_saved", tmp_path / "promoted.toml"
    op, kernel = name.split("/")
    own.write_text("# promotions\n")
    monkeypatch.setattr(promotion, "PROMOTED_FILE", own)
    assert name in candidates(GB10)
    listed = listed_kernels() - {sha256_file(catalog.folder(op) / f"{kernel}.py")}
    monkeypatch.setattr(kernels, "listed_kernels", lambda: listed)
    assert name not in candidates(GB10)
    for key, is_candidate in (("another-gpu", False), (GB10.hardware_key, True)):
        signed = catalog.signature(op, kernel)
        line = promotion.Promotion(op=op, hardware_key=key, kernel=kernel, evidence="a" * 12, signature=signed)
        promotion.write([line], own)
        assert (name in candidates(GB10)) == is_candidate
    promotion.write([line.model_copy(update={"signature": "0" * 64})], own)
    assert name not in candidates(GB10), "it was edited since"


def test_of_each_op_the_fastest_kernel_that_is_right_and_faster_inside_the_compiled_step_is_proven(home):
    lab, executor = lab_of({
        "fused_mlp/triton_saved": (True, 1.2),
        "fused_mlp/triton_recompute": (True, 1.4),
        "rope_qk_fused/triton_fused": (True, None),
        "residual_rmsnorm/triton_fused": (False, 3.0),
    })  # fmt: skip
    assert proven(lab, 1000.0) == ({"fused_mlp": "triton_recompute"}, [])
    measured = [candidate for command, candidate in executor.asked if command == "bench"]
    assert "residual_rmsnorm/triton_fused" not in measured, "what is wrong is not measured"


def test_what_there_was_no_time_for_is_named(home):
    lab, _ = lab_of({name: (True, 1.1) for name in candidates(GB10)}, takes_s=10.0)
    found, left_out = proven(lab, 65.0)
    assert len(found) in (1, 2)
    assert set(left_out) | {f"kernel {op}={kernel}" for op, kernel in found.items()} <= {
        f"kernel {name.replace('/', '=')}" for name in candidates(GB10)
    }
    assert left_out


def test_a_lab_that_ends_without_an_answer_proves_nothing(home, monkeypatch):
    lab, executor = lab_of({})
    monkeypatch.setattr(executor, "execute", lambda *arguments: (-9, "killed"))
    assert proven(lab, 1000.0) == ({}, [])


class Trainer:
    """A device that is faster with a kernel, by so much."""

    memory_mb = 1e5

    def __init__(self, gain):
        self.gain = gain

    def measure(self, probe, limit_s):
        speed = 1000.0 * (self.gain if probe.tuning.kernels else 1.0)
        speed *= 1.1 if probe.tuning.compile == "graphs" else 1.0
        return Outcome(probe=probe, status=Status.OK, val_bpb=1.5, tok_per_sec=speed, wall_seconds=1.0)


@pytest.mark.parametrize(("gain", "kernels_are_kept"), [(1.2, True), (0.9, False)])
def test_the_trainer_decides_about_what_the_lab_has_proven(home, gain, kernels_are_kept):
    lab, _ = lab_of({"fused_mlp/triton_saved": (True, 1.2)})
    trainer = Trainer(gain)
    work = SimpleNamespace(
        calibration=GB10, lab=lab, clock=Clock(60.0), presets_by_size=lambda: ["m5-tiny"],
        measure=lambda probe, limit_s: trainer.measure(probe, limit_s),
    )  # fmt: skip
    found = tune.tune(work, 1000.0)
    assert isinstance(found, Tuned)
    assert found.tuning.compile == "graphs", "kernels come on top of the fastest setting"
    assert found.tuning.kernels == ({"fused_mlp": "triton_saved"} if kernels_are_kept else {})


def known_before(speedup: float) -> LabAnswer:
    bouts = {"compiled": {"verdict": "faster", "speedup": {"value": speedup}}}
    met = [{"evidence": "a", "details": {}}, {"evidence": "b", "details": {"bouts": bouts}}, {"evidence": None}]
    return LabAnswer(command="x", status=LabStatus.FAILED, headline="", data={"requirements": met})


def test_evidence_of_the_ledger_is_not_measured_again(home, monkeypatch):
    lab, executor = lab_of({})
    monkeypatch.setattr(executor, "_answer", lambda command: known_before(1.3))
    assert lab.speedup("fused_mlp/triton_saved", 10.0) == 1.3
    assert [command for command, _ in executor.asked] == ["promotion-check"]


def test_a_kernel_that_was_measured_before_is_compared_by_what_was_measured(home, monkeypatch):
    lab, executor = lab_of({"fused_mlp/triton_recompute": (True, 1.2)})
    answer = executor._answer
    known = {"fused_mlp/triton_saved": known_before(2.0)}
    monkeypatch.setattr(executor, "_answer", lambda command: known.get(command.candidate) or answer(command))
    assert proven(lab, 1000.0)[0] == {"fused_mlp": "triton_saved"}


def test_the_lab_is_asked_by_the_name_of_its_stage():
    from shared.stages.table import find_stage

    assert find_stage(kernels.STAGE).runs_untrusted_code
