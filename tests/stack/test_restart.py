"""All containers end at once, by hand or with their engine, while a job trains: it goes on from its checkpoint."""

import json
import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
from redis.exceptions import ConnectionError

from shared.settings import CHECKOUT
from tests.fleet import wait_for
from tests.recipes import HONEST
from tests.stack.containers import Stack, docker

pytestmark = [pytest.mark.stack, pytest.mark.slow]

KILLED = 128 + signal.SIGKILL
ENGINE = CHECKOUT / ".ci" / "docker-engine"
ENGINE_PID, ENGINE_LOG = Path("/var/run/docker.pid"), "/tmp/dockerd.log"
SERVICES = ("redis", "database", "mlflow", "worker", "prepare", "calibrator", "trainer", "evaluator", "kernel-lab")


@pytest.fixture
def engine_pid(stack) -> int:
    """Of an engine that .ci/docker-engine started, and that runs nobody else's containers."""
    pid = int(ENGINE_PID.read_text()) if ENGINE_PID.exists() else 0
    try:
        is_ours = os.readlink(f"/proc/{pid}/fd/1") == ENGINE_LOG
    except OSError:
        is_ours = False
    if not is_ours or set(docker("ps", "--quiet", "--no-trunc").split()) - set(stack.containers()):
        pytest.skip("the engine is not one that .ci/docker-engine started for this stack alone")
    return pid


def training(stack: Stack, enqueue, job_id: str) -> str:
    """A job that has written a checkpoint and trains for a while yet."""
    name = stack.in_training(enqueue(job_id, HONEST, "checkpoint_every=1", seconds=20.0))
    checkpoint = f"/spool/trainer/*.run/{job_id}-*/checkpoint/latest.json"
    wait_for(lambda: stack.inside("worker", "sh", "-c", f"ls {checkpoint} 2>/dev/null || true"), 60, every_s=0.5)
    return name


def has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def queue_answers(stack: Stack) -> bool:
    try:
        return stack.redis.ping()
    except ConnectionError:
        return False


def goes_on(stack: Stack, job_id: str) -> None:
    outcome = stack.outcome(job_id)
    assert outcome.status == "ok", outcome.reason
    assert outcome.attempt > 1, "it ended before its containers did"
    assert json.loads(stack.run_file(outcome.run_id, "training.json"))["resumed_from_step"] > 0
    wait_for(lambda: stack.is_recorded(outcome.run_id), 120, every_s=1)


def test_a_job_goes_on_after_all_containers_were_stopped_and_none_had_to_be_killed(stack, enqueue):
    name = training(stack, enqueue, "stopped")
    docker("stop", *stack.containers())
    ends = {service: stack.state(service)["ExitCode"] for service in SERVICES}
    docker("start", *stack.containers())
    wait_for(lambda: queue_answers(stack), 60, every_s=0.5)
    assert [service for service, code in ends.items() if code == KILLED] == []
    goes_on(stack, name)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
def test_a_job_goes_on_after_the_engine_ended_and_was_started_again(stack, enqueue, engine_pid, how):
    name = training(stack, enqueue, f"engine-{how.name.lower()}")
    os.kill(engine_pid, how)
    wait_for(lambda: has_ended(engine_pid), 120, every_s=0.2)
    subprocess.run([str(ENGINE)], check=True, capture_output=True, timeout=300)
    wait_for(lambda: queue_answers(stack), 60, every_s=0.5)
    goes_on(stack, name)
