"""A recipe that fills the memory, forks without end, leaves a daemon or ends everything harms its own run only."""

import pytest

from tests.recipes import HONEST, variant
from tests.stack.containers import Stack

pytestmark = pytest.mark.stack

FILLS_MEMORY = variant("""
def step(self, rows, progress):
    self.hoard = [bytearray(b"x" * (64 << 20)) for _ in range(1000)]
    return super().step(rows, progress)
""").decode()

# bounded, should nothing else bound it
FORKS = (
    HONEST
    + """
import os, time
number = 0
try:
    while number < 3000:
        if os.fork() == 0:
            time.sleep(1000)
            os._exit(0)
        number += 1
except OSError as error:
    print("FORKED", number, error, flush=True)
"""
)

LEAVES_A_DAEMON = (
    HONEST
    + """
import subprocess, sys
if WHERE in sys.modules:
    subprocess.Popen(["daemon-of-a-recipe", "1000"], executable="/bin/sleep", start_new_session=True)
"""
)

ENDS_EVERYTHING = (
    HONEST
    + """
import os, signal
for pid in (os.getppid(), 1, -1):
    try:
        os.kill(pid, signal.SIGKILL)
        print("KILLED", pid, flush=True)
    except OSError as error:
        print("refused", pid, error, flush=True)
"""
)


def processes(stack: Stack, service: str) -> str:
    return stack.inside(service, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")


def test_a_recipe_that_fills_the_memory_is_out_of_memory_and_the_worker_goes_on(stack, enqueue):
    worker = stack.container("worker")
    began = stack.state("worker")["StartedAt"]
    first, second = enqueue("hoard", FILLS_MEMORY), enqueue("after-hoard")
    assert stack.outcome(first).status == "out_of_memory", stack.outcome(first).reason
    assert stack.outcome(first).attempt == 1
    assert stack.outcome(second).status == "ok", stack.outcome(second).reason
    assert (stack.container("worker"), stack.state("worker")["StartedAt"]) == (worker, began)


def test_a_fork_bomb_meets_the_limit_and_is_cleared_away(stack, enqueue):
    """What becomes of the recipe after that is its own affair, also that it is given up, but there is an end to it."""
    outcome = stack.outcome(enqueue("forks", FORKS))
    printed = stack.run_file(f"forks-a{outcome.attempt}", "output.log")
    print(outcome.status, outcome.reason, printed[-300:])
    assert 100 < int(printed.partition("FORKED ")[2].split()[0]) < 512
    assert "recipe_process" not in processes(stack, "trainer") + processes(stack, "evaluator")
    assert stack.outcome(enqueue("after-forks")).status == "ok"


@pytest.mark.parametrize(("stage", "status"), [("trainer", "ok"), ("evaluator", "rejected")])
def test_a_daemon_is_gone_when_the_stage_is(stack, enqueue, stage, status):
    """A recipe that is scored has to be alone."""
    source = LEAVES_A_DAEMON.replace("WHERE", repr(f"services.{stage}"))
    outcome = stack.outcome(enqueue(f"daemon-of-{stage}", source))
    assert outcome.status == status, outcome.reason
    assert "daemon-of-a-recipe" not in processes(stack, stage)


def test_a_recipe_that_kills_whatever_it_can_ends_only_itself(stack, enqueue):
    outcome = stack.outcome(enqueue("kills", ENDS_EVERYTHING))
    print(outcome.status, outcome.reason, stack.run_file(outcome.run_id, "output.log")[-300:])
    # before Linux 6.12 its supervisor dies with it
    assert outcome.status in ("ok", "crashed")
    assert stack.outcome(enqueue("after-kills")).status == "ok"
