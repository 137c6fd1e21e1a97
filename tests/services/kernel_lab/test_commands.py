"""Every command has its file, and what is missing on a machine is an answer with a name, never a stack trace."""

from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest

from services.kernel_lab import commands
from services.kernel_lab.desk import Desk, clear_away
from services.kernel_lab.workspace import KERNEL
from shared.kernel_lab import job as orders
from shared.kernel_lab.job import Init, LabJob, LabStatus, Verify, leave_answer, read_doing, take_answer
from shared.stages.executors import NativeExecutor
from tests.services.kernel_lab.test_cheats import CHEATS

COMMANDS = {
    name
    for model in get_args(get_args(orders.Command)[0])
    for name in get_args(model.model_fields["command"].annotation)
}


@pytest.fixture
def desk(home):
    return Desk("0" * 16, NativeExecutor())


def test_every_command_has_a_file_that_answers_it():
    assert set(commands.STAGES) == COMMANDS
    for file in set(commands.STAGES.values()):
        assert callable(import_module(f"services.kernel_lab.{file}").answer)


@pytest.mark.parametrize(("package", "extra"), commands.PACKAGES.items())
def test_a_package_that_is_not_installed_is_named_with_its_extra(desk, monkeypatch, package, extra):
    def absent(name):
        raise ModuleNotFoundError(f"No module named '{package}'", name=package)

    monkeypatch.setattr(commands, "import_module", absent)
    answer = commands.carry_out(LabJob(command=Verify(candidate="rmsnorm/x")), desk)
    assert answer.status is LabStatus.MISSING_RUNTIME
    assert f"[{extra}]" in answer.headline


def test_a_fault_of_our_own_is_not_taken_for_a_missing_package(desk, monkeypatch):
    def absent(name):
        raise ModuleNotFoundError("No module named 'services.nothing'", name="services.nothing")

    monkeypatch.setattr(commands, "import_module", absent)
    with pytest.raises(ModuleNotFoundError):
        commands.carry_out(LabJob(command=Verify(candidate="rmsnorm/x")), desk)


def test_a_kernel_that_comes_as_text_gets_a_workspace_named_by_its_hash(desk):
    source = CHEATS["nan_as_wildcard"].read_text()
    order = commands.with_workspace(Verify(candidate="rmsnorm", source=source), desk)
    again = commands.with_workspace(Verify(candidate="rmsnorm", source=source), desk)
    other = commands.with_workspace(Verify(candidate="rmsnorm", source=source + "\n"), desk)
    assert order.candidate == again.candidate != other.candidate
    assert order.source is None
    assert desk.subject(order.candidate).path.read_text() == source


def test_the_same_text_in_another_language_is_another_kernel(desk):
    orders = [Verify(candidate="rmsnorm", source="x = 1\n", language=language) for language in ("torch", "triton")]
    found = [desk.subject(commands.with_workspace(order, desk).candidate).language for order in orders]
    assert found == ["torch", "triton"]


def test_a_workspace_that_was_laid_out_by_half_is_laid_out_anew(desk):
    order = Verify(candidate="rmsnorm", source="x = 1\n")
    folder = Path(commands.with_workspace(order, desk).candidate)
    for left in ([], [KERNEL]):
        for file in set(folder.iterdir()) - {folder / name for name in left}:
            file.unlink()
        assert desk.subject(commands.with_workspace(order, desk).candidate).path.read_text() == "x = 1\n"


def test_a_kernel_that_comes_as_text_is_for_an_op_and_replaces_no_kernel(desk):
    with pytest.raises(ValueError, match="a source needs the name of its OP alone, not 'rmsnorm/mine'"):
        commands.with_workspace(Verify(candidate="rmsnorm/mine", source="x = 1\n"), desk)


def test_an_answer_is_read_once(desk):
    job = LabJob(command=Init(op="rmsnorm"))
    leave_answer(job, commands.carry_out(job, desk))
    assert take_answer(job).status is LabStatus.OK
    with pytest.raises(ValueError, match="missing"):
        take_answer(job)


def test_what_a_command_does_now_can_be_read_until_its_answer_is(desk):
    job = LabJob(id=desk.job_id, command=Init(op="rmsnorm"))
    assert read_doing(job.id) == ""
    desk.say("round 1 of 15")
    assert read_doing(job.id) == "round 1 of 15"
    leave_answer(job, commands.carry_out(job, desk))
    take_answer(job)
    assert read_doing(job.id) == ""


def test_what_commands_that_were_killed_left_behind_goes_after_a_day(tmp_path):
    import os

    for name, age_s in (("old", 2 * 24 * 3600), ("new", 60)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "kernel.py").touch()
        os.utime(tmp_path / name, (os.stat(tmp_path).st_mtime - age_s,) * 2)
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")  # as one that another command took away meanwhile
    clear_away(tmp_path)
    (tmp_path / "gone").unlink()
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
