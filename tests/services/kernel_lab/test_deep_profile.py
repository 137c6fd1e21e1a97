"""What Nsight Compute is started with, and what is said where it is not or may not. No tool runs here."""

from contextlib import nullcontext
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace

import pytest

from services.kernel_lab import deep_profile
from services.kernel_lab.ledger import Ledger
from services.kernel_lab.subject import find
from services.kernel_lab.surroundings import Missing
from shared.kernel_lab.job import DeepProfile

ORDER = DeepProfile(candidate="cross_entropy_full/torch_chunked")


@pytest.fixture
def ncu(monkeypatch, home):
    """A tool that records; gives the commands that it was started with."""
    started: list[list[str]] = []

    def run(command):
        started.append(command)
        Path(command[command.index("--export") + 1]).write_text("recorded")
        return CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(deep_profile, "run_tool", run)
    monkeypatch.setattr(deep_profile.shutil, "which", lambda name: f"/usr/local/bin/{name}")
    return started


def desk(device="cuda:0"):
    around = SimpleNamespace(device=device, hardware_key="some-gpu")
    return SimpleNamespace(
        around=lambda asked: around,
        subject=lambda candidate: find(candidate, Ledger()),
        place_for=lambda language, asked: nullcontext(around),
        note=lambda *what: None,
    )


def test_a_kernel_is_recorded_into_the_labs_folder(ncu, home):
    found = deep_profile.answer(ORDER, desk())
    ((program, *words),) = ncu
    assert program == "/usr/local/bin/ncu"
    assert words[-2:] == ["cross_entropy_full", "torch_chunked"]
    assert Path(found.data["path"]).read_text() == "recorded"
    assert Path(found.data["path"]).is_relative_to(home)


def test_a_wrong_kernel_of_the_catalog_is_found_by_its_whole_name(ncu):
    found = deep_profile.answer(DeepProfile(candidate="fused_mlp/wrong/torch_relu"), desk())
    assert ncu[0][-2:] == ["fused_mlp", "wrong/torch_relu"]
    assert found.data["path"].endswith("fused_mlp-wrong-torch_relu.ncu-rep")


def test_counters_that_the_host_keeps_to_root_are_said_with_the_option_that_opens_them(ncu, monkeypatch):
    refused = CompletedProcess([], 1, "==ERROR== ERR_NVGPUCTRPERM - The user does not have permission", "")
    monkeypatch.setattr(deep_profile, "run_tool", lambda command: refused)
    with pytest.raises(Missing, match="NVreg_RestrictProfilingToAdminUsers=0") as raised:
        deep_profile.answer(ORDER, desk())
    assert raised.value.status == "capture-unavailable"


def test_without_the_tool_it_is_said_which_image_has_it(ncu, monkeypatch):
    monkeypatch.setattr(deep_profile.shutil, "which", lambda name: None)
    with pytest.raises(Missing, match="NSIGHT=1") as raised:
        deep_profile.answer(ORDER, desk())
    assert raised.value.status == "missing-tool"
    assert ncu == []
