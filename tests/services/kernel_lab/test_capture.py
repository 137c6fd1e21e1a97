"""What is started to record steps, and what is said where nothing can be recorded. No tool runs here."""

import sys
from contextlib import nullcontext
from subprocess import CompletedProcess
from types import ModuleType, SimpleNamespace

import pytest

from services.kernel_lab import capture, steps
from services.kernel_lab.surroundings import Missing
from shared.kernel_lab.job import Capture


@pytest.fixture
def lab(monkeypatch, home):
    """Device idle, tool successful; gives the commands that were started, with their environment."""
    started = []

    def run(command, more=None):
        started.append((command, dict(more or {})))
        return CompletedProcess(command, lab.exit_code, "", "no permission\n")

    lab = SimpleNamespace(started=started, exit_code=0)
    monkeypatch.setattr(capture, "run_tool", run)
    return lab


def desk(device):
    around = SimpleNamespace(device=device, hardware_key="some-gpu")
    return SimpleNamespace(around=lambda asked: around, device_held=lambda held: nullcontext())


def order(tmp_path, name):
    (tmp_path / name).write_text("recorded")
    return Capture(preset="m5-tiny", steps=2, output=tmp_path / name)


def test_on_a_mac_mlx_records_itself(lab, monkeypatch, tmp_path):
    monkeypatch.setattr(capture, "find_spec", lambda name: object())
    found = capture.answer(order(tmp_path, "x.gputrace"), desk("mps"))
    ((command, environment),) = lab.started
    assert command == [*capture.STEPS, "m5-tiny", "metal", "2", str(tmp_path / "x.gputrace")]
    assert environment == {"MTL_CAPTURE_ENABLED": "1"}
    assert "open -a Xcode" in found.headline


def test_on_cuda_nsight_systems_starts_the_steps(lab, monkeypatch, tmp_path):
    monkeypatch.setattr(capture.shutil, "which", lambda name: f"/usr/bin/{name}")
    capture.answer(order(tmp_path, "x.nsys-rep"), desk("cuda:0"))
    ((command, environment),) = lab.started
    assert command[:2] == ["nsys", "profile"]
    assert f"--output={tmp_path / 'x'}" in command
    assert command[-6:] == [*capture.STEPS, "m5-tiny", "cuda:0", "2"]
    assert environment == {}


@pytest.mark.parametrize(
    ("device", "there", "status", "said"),
    [
        ("cuda:0", False, "missing-tool", "nsys"),
        ("mps", False, "missing-runtime", "MLX is not here"),
        ("cpu", True, "capture-unavailable", "lab profile"),
        ("mps", True, "capture-unavailable", "Metal recorded nothing: no permission"),
    ],
)
def test_what_cannot_be_recorded_is_said_with_its_status(lab, monkeypatch, tmp_path, device, there, status, said):
    lab.exit_code = 1
    monkeypatch.setattr(capture, "find_spec", lambda name: object() if there else None)
    monkeypatch.setattr(capture.shutil, "which", lambda name: name if there else None)
    with pytest.raises(Missing) as raised:
        capture.answer(order(tmp_path, "x"), desk(device))
    assert said in str(raised.value)
    assert raised.value.status == status


def test_metal_records_the_steps_and_not_their_warm_up(monkeypatch):
    said = []
    core = ModuleType("mlx.core")
    core.metal = SimpleNamespace(start_capture=lambda path: said.append(path), stop_capture=lambda: said.append("stop"))
    monkeypatch.setitem(sys.modules, "mlx", ModuleType("mlx"))
    monkeypatch.setitem(sys.modules, "mlx.core", core)
    sys.modules["mlx"].core = core

    def opened(shape, device):
        said.append(f"warm on {device}")
        return lambda: said.append("step"), lambda: said.append("wait")

    monkeypatch.setattr(steps, "open_step", opened)
    monkeypatch.setattr(sys, "argv", ["steps", "m5-tiny", "metal", "2", "x.gputrace"])
    assert steps.main() == 0
    assert said == ["warm on metal", "x.gputrace", "step", "step", "wait", "stop"]
