"""The kernel lab through the queue, in containers: a kernel is judged in one that has the device and one spool."""

import pytest

pytestmark = pytest.mark.stack

WRONG = "def rmsnorm(x):\n    return 1.0 * x\n"
KERNEL = "cross_entropy_full/torch_chunked"


def lab(stack, job: str, **arguments: str):
    return stack.outcome(stack.rq("lab", job, *(f"{name}={value}" for name, value in arguments.items())), 300)


def test_a_kernel_in_a_job_is_judged_in_the_labs_container(stack, tmp_path):
    kernel = tmp_path / "kernel.py"
    kernel.write_text(WRONG)
    outcome = lab(stack, "wrong-kernel", command="verify", candidate="rmsnorm", source=f"@{kernel}", quick="true")
    assert outcome.status == "rejected", outcome.reason
    assert "INCORRECT_NUMERICAL on cpu-" in outcome.reason


@pytest.mark.slow
def test_what_the_lab_found_is_in_its_volume_and_the_next_command_builds_on_it(stack):
    verified = lab(stack, "verify-kernel", command="verify", candidate=KERNEL)
    assert verified.status == "ok", verified.reason
    measured = lab(stack, "bench-kernel", command="bench", candidate=KERNEL)
    assert f"{KERNEL} on cpu-" in measured.reason
    assert measured.reason.endswith("x"), measured.reason
    known = lab(stack, "what-is-known", command="evidence", op="cross_entropy_full")
    assert known.status == "ok"
    assert "2 events of cross_entropy_full on cpu-" in known.reason


@pytest.mark.slow
def test_a_step_is_profiled_in_the_labs_container(stack):
    profiled = lab(stack, "profile-step", command="profile", preset="m5-tiny")
    assert profiled.status == "ok", profiled.reason
    assert "steps of m5-tiny" in profiled.reason
