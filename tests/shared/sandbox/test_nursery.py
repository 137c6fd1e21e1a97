"""Recipe processes that are forks of one that imported a framework: as alone and as fenced as those started anew."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from shared import sandbox
from shared.contracts import Contract, Integrity
from shared.sandbox import ending
from shared.sandbox.channel import Channel
from shared.sandbox.ending import Isolation
from shared.sandbox.launch import Ended, Opened, RecipeProcess, new_scratch
from shared.sandbox.nursery import Imported, check_unshared
from shared.sandbox.preloaded import Preloaded
from shared.settings import CHECKOUT
from tests.shared.sandbox.born_server import Outcomes
from tests.shared.sandbox.test_sandbox import ATTACKS, NEEDS, needs_fence, run_probes

SERVER = "tests.shared.sandbox.born_server"

pytestmark = pytest.mark.skipif(
    ending.strongest() is not Isolation.NAMESPACE, reason="processes are forked only where they can be alone"
)


class Orders(Contract):
    deed: str


class Probing(Contract, extra="allow"):
    """What `run_probes` says."""


@pytest.fixture
def nursery(workplace, tmp_path):
    with Preloaded(SERVER, ["torch"], tmp_path / "unused", environment={}) as nursery:
        yield nursery


def started(nursery, tmp_path) -> RecipeProcess:
    return RecipeProcess("none", new_scratch(tmp_path), answers={"outcomes": Outcomes}, nursery=nursery)


def do(deed: str, process: RecipeProcess) -> dict:
    with process:
        process.send(Orders(deed=deed))
        process.await_opened(Opened, 30, "was late")
        return process.expect(Outcomes, 30, "was late").found


def test_a_process_finds_nothing_of_the_one_before_it(nursery, tmp_path):
    first, second = (do("leave_a_mark", started(nursery, tmp_path)) for _ in range(2))
    for found in (first, second):
        assert not found["in memory"]
        assert not found["in the environment"]
    assert first["files"] == second["files"]
    assert first["home"] != second["home"]
    assert first["random"] != second["random"]


@needs_fence
def test_every_way_out_is_refused_to_a_process_that_was_forked(nursery, tmp_path):
    scratch = new_scratch(tmp_path)
    (secret := tmp_path / "secret" / "validation.bin").parent.mkdir()
    secret.write_text("secret")
    (scratch / "old").write_text("x")

    def ask(orders: dict, rows_fd: int, output: Path) -> dict:
        process = RecipeProcess("none", scratch, answers={"outcomes": Outcomes}, nursery=nursery, secret=[secret])
        with process:
            process.send(Probing(**orders), rows_fd)
            process.await_opened(Opened, 30, "was late")
            assert process.integrity is Integrity.FULL
            return process.expect(Outcomes, 60, "was late").found

    found = run_probes([*ATTACKS, *NEEDS], secret, scratch, fenced=True, ask=ask)
    assert {name: found[name] for name in NEEDS} == dict.fromkeys(NEEDS, "worked")
    assert {name: found[name] for name in ATTACKS if found[name] not in ("refused", "absent")} == {}


def test_how_it_died_is_known(nursery, tmp_path):
    with pytest.raises(Ended, match="SIGSEGV"):
        do("die", started(nursery, tmp_path))


def test_nothing_of_it_is_left_when_it_was_ended(nursery, tmp_path):
    with started(nursery, tmp_path) as process:
        family = psutil.Process(process.child.pid).children(recursive=True)
        assert len(family) == 2
        process.child.kill()
        assert not psutil.pid_exists(process.child.pid)
    assert psutil.wait_procs(family, timeout=10)[1] == []


OWNER = f"""
import sys
from pathlib import Path
from shared.sandbox.launch import RecipeProcess, new_scratch
from shared.sandbox.preloaded import Preloaded
with Preloaded({SERVER!r}, [], Path(sys.argv[1]) / "unused", environment={{}}) as nursery:
    with RecipeProcess("none", new_scratch(Path(sys.argv[1])), answers={{}}, nursery=nursery) as process:
        print("started", flush=True)
        sys.stdin.read()
"""


def test_nursery_and_process_die_with_their_owner(workplace, tmp_path):
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        assert owner.stdout.readline() == "started\n"
        family = psutil.Process(owner.pid).children(recursive=True)
        assert len(family) == 4  # the nursery; outside, first and last process of the one it started
        owner.send_signal(signal.SIGKILL)
    assert psutil.wait_procs(family, timeout=10)[1] == []


def test_how_long_importing_took_does_not_depend_on_when_it_is_asked(tmp_path):
    """Limits follow it: what the owner did meanwhile must not widen them."""
    nursery = Preloaded(SERVER, [], tmp_path, environment={})
    nursery._started = 100.0
    nursery._channel, theirs = Channel.pair()
    theirs.send(Imported(at=103.5))
    assert nursery.import_s == 3.5
    assert nursery.import_s == 3.5


def test_a_module_that_cannot_be_imported_is_named(workplace, tmp_path):
    with (
        Preloaded(SERVER, ["no_such_module"], tmp_path / "unused", environment={}) as nursery,
        pytest.raises(RuntimeError, match="no_such_module"),
    ):
        assert nursery.import_s


def test_memory_that_forks_would_share_is_refused():
    private = "7f00-7f10 rw-p 00000000 00:00 0\n7f20-7f30 r--s 00000000 08:01 7 /usr/lib/gconv-modules.cache\n"
    check_unshared(private)
    with pytest.raises(RuntimeError, match="share"):
        check_unshared(private + "7f40-7f50 rw-s 00000000 00:01 9 /dev/zero (deleted)\n")


def test_a_sandbox_that_is_not_applied_is_no_obstacle(monkeypatch, workplace, tmp_path):
    monkeypatch.setenv("ARE_SANDBOX", "off")
    with Preloaded(SERVER, [], tmp_path / "unused", environment={}) as nursery:
        process = started(nursery, tmp_path)
        do("leave_a_mark", process)
    assert process.sandbox.chosen == sandbox.SandboxKind.NONE
