"""The owner's side of a nursery: recipe processes that have imported a framework when they start.

with Preloaded("services.evaluator.server", ["torch"], scratch, environment={}) as nursery:
    nursery.import_s    it imports meanwhile, and this waits until it has; at once where there is one processor
    RecipeProcess(..., nursery=nursery)
"""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic

from shared.sandbox import ending
from shared.sandbox.channel import Channel, ChannelClosed
from shared.sandbox.nursery import Imported, Start
from shared.sandbox.output_log import CappedLog
from shared.sandbox.parent_death import dies_with_parent
from shared.sandbox.processes import Child, child_environment
from shared.settings import CHECKOUT

IMPORT_TIMEOUT_S = 600.0
START_TIMEOUT_S = 30.0


class Preloaded:
    """A nursery with `server` and `modules` imported. Leaving the context ends it; processes it started live on.

    scratch: named in its environment and never used. environment: what its processes get besides.
    """

    def __init__(self, server: str, modules: Sequence[str], scratch: Path, environment: Mapping[str, str]):
        self.modules, self.scratch = (server, *modules), scratch
        self.environment = {"PYTHONPATH": str(CHECKOUT), **environment}
        self._import_s: float | None = None

    def __enter__(self) -> "Preloaded":
        ending.adopt_orphans()
        self._started = monotonic()
        self._channel, theirs = Channel.pair()
        command = [sys.executable, "-m", "shared.sandbox.nursery", str(theirs.fileno()), *self.modules]
        self._process = subprocess.Popen(
            dies_with_parent(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd=CHECKOUT,
            env=child_environment(self.scratch, self.environment),
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
        ending.know(self._process)
        theirs.close()
        if len(os.sched_getaffinity(0)) == 1:
            self.await_import()  # how long it takes says how slow the machine is: nothing of ours may run beside it
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        ending.forget(self._process)
        self._channel.close()

    @property
    def import_s(self) -> float:
        """How long starting and importing took; waits until it is known."""
        return self.await_import()

    def await_import(self) -> float:
        """RuntimeError when a module cannot be imported."""
        if self._import_s is None:
            try:
                message, _ = self._channel.receive(IMPORT_TIMEOUT_S)
            except (ChannelClosed, TimeoutError) as error:
                raise RuntimeError(f"the process that imports {', '.join(self.modules)} did not: {error}") from None
            self._import_s = Imported.model_validate(message).at - self._started
        return self._import_s

    def start(self, channel: int, *, output: Path, scratch: Path) -> Child:
        """A process that serves the server on `channel`, alone in the world as if processes.start had started it."""
        self.await_import()
        request = Start(environment=child_environment(scratch, self.environment))
        read_end, write_end = os.pipe()
        pid_read, pid_write = os.pipe()
        try:
            self._channel.send(request, fds=(channel, write_end, pid_write))
        finally:
            os.close(write_end)
            os.close(pid_write)
        process = Adopted(_said_pid(pid_read))
        ending.know(process)
        return Child(process, CappedLog(output, read_end), ending.Isolation.NAMESPACE)


def _said_pid(descriptor: int) -> int:
    """RuntimeError when the process ended before it said it, or waited too long."""
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        said = file.read(16) if select.select([file], [], [], START_TIMEOUT_S)[0] else b""
    if not said:
        raise RuntimeError("the process that has imported a framework started no other")
    return int(said)


class Adopted:
    """A child of this process that it did not start itself: what `ending` and `Child` use of subprocess.Popen."""

    def __init__(self, pid: int):
        self.pid = pid
        self.returncode: int | None = None
        self._ends = os.pidfd_open(pid)

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._ends], [], [], 0)[0]:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            os.close(self._ends)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None and not select.select([self._ends], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        code = self.poll()
        assert code is not None
        return code

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)
