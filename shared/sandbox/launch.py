"""One handle on untrusted code: start a recipe's process in the sandbox, ask it, expect its answers, end it.

parent:  with RecipeProcess("services.trainer.recipe_process", new_scratch(run.path), answers=ANSWERS) as process:
             process.send(Start(...), file.fileno())
             ready = process.expect(Ready, timeout_s=900, late="was not ready")
child:   channel = enter(int(sys.argv[1]))     before anything untrusted is imported

Whatever the process does wrong ends in one exception, Ended, with the status for the record.
"""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from shared import sandbox
from shared.contracts import Choice, Contract, Integrity, OneLine, Status, VoidCause
from shared.sandbox import ending
from shared.sandbox.channel import Channel, ChannelClosed
from shared.sandbox.ending import Isolation
from shared.sandbox.parent_death import exit_with_parent
from shared.sandbox.policy import SandboxKind
from shared.sandbox.processes import Child, start
from shared.sandbox.traces import PROCESSES, Traces, counts
from shared.settings import CHECKOUT, settings

if TYPE_CHECKING:
    from shared.sandbox.preloaded import Preloaded

ENTER_TIMEOUT_S = 60.0
LOOK_EVERY_S = 0.5
DEATH_TIMEOUT_S = 5.0
CLOSED = ("datasets", "validation", "corpora", "cache/edited")
"""folders of ARE_HOME that no recipe may read"""
ITS_WORDS = "the recipe's process says: "
"""before text that a recipe may have written: people and agents read it as that"""

Answer = TypeVar("Answer", bound=Contract)


class Fence(Contract):
    """The first message to a recipe's process."""

    enabled: bool
    found: Choice
    """what there is to fence it with: see sandbox.apply"""
    alone: bool
    """started in namespaces of its own"""
    policy: sandbox.Policy
    must_fail: tuple[Path, ...]
    """what the process tries to read once it is fenced, and may not"""


class Entered(Contract):
    """The first message from it, sent before anything untrusted is imported: nobody can have forged it."""

    kind: Literal["entered"] = "entered"
    sandbox: Choice


class Opened(Contract):
    """The last message before a recipe is imported. With it come the descriptors of traces.py, where they can."""

    kind: Literal["opened"] = "opened"
    why_uncounted: OneLine = ""


class Failed(Contract):
    """What a recipe's process says of its own end, in place of any other answer."""

    kind: Literal["failed"] = "failed"
    status: Literal[Status.INVALID, Status.DIVERGED, Status.OUT_OF_MEMORY, Status.CRASHED, Status.REJECTED]
    reason: OneLine


class Ended(Exception):
    """The stage is over before its time: the recipe's process failed, or somebody asked for its end."""

    def __init__(self, status: Status, reason: str, void: VoidCause | None = None):
        super().__init__(reason)
        self.status, self.reason, self.void = status, reason, void


class RecipeProcess:
    """A process that runs `python -m module DESCRIPTOR` with a recipe in it. Leaving the context ends all of it.

    answers: the messages it may send, by kind; `failed` is always among them
    scratch: from `new_scratch`, removed at the end
    output: where stdout and stderr go; None keeps them in the scratch folder, to go with it
    readable, writable: what it needs besides its scratch folder: the recipe, weights, a compile cache
    secret: what it tries to read in vain; what is not even here, as in a container, needs no fence
    gpu: whether it may open the GPUs of this machine
    nursery: starts it instead, with what that has imported and its environment; only where it is alone in a namespace
    """

    def __init__(
        self,
        module: str,
        scratch: Path,
        *,
        answers: Mapping[str, type[Contract]],
        output: Path | None = None,
        readable: Sequence[Path] = (),
        writable: Sequence[Path] = (),
        secret: Sequence[Path] = (),
        environment: Mapping[str, str] | None = None,
        gpu: bool = True,
        nursery: "Preloaded | None" = None,
    ):
        self.module, self.scratch = module, scratch
        self.answers: Mapping[str, type[Contract]] = {**answers, "failed": Failed}
        self.output, self.secret = output or scratch / "output.log", secret
        self.readable, self.writable, self.environment, self.gpu = readable, writable, environment or {}, gpu
        self.isolation = ending.strongest()
        self.nursery = nursery if self.isolation is Isolation.NAMESPACE else None
        self.sandbox = Choice(what="sandbox", chosen=SandboxKind.NONE, reason="not entered")
        self.traces: Traces | None = None
        self.counts_traces = False
        self.why_uncounted = ""
        self.child: Child
        self.channel: Channel

    def __enter__(self) -> "RecipeProcess":
        try:
            self._start()
            entered, _ = self._message(ENTER_TIMEOUT_S, "did not enter the sandbox", {"entered": Entered})
            self.sandbox = entered.sandbox
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def _start(self) -> None:
        policy = sandbox.recipe_policy(
            CHECKOUT,
            writable=(self.scratch, *self.writable),
            extra_readable=self.readable,
            protected=(*(settings().home / kind for kind in CLOSED), settings().runs),
            gpu=self.gpu,
        )
        enabled, found = settings().sandbox == "on", sandbox.describe()
        self.channel, theirs = Channel.pair()
        self.child = self._start_child(theirs.fileno(), policy if enabled else None)
        theirs.close()
        must_fail = tuple(path for path in self.secret if path.exists())
        alone = self.isolation is Isolation.NAMESPACE
        self.channel.send(Fence(enabled=enabled, found=found, alone=alone, policy=policy, must_fail=must_fail))

    def _start_child(self, channel: int, policy: sandbox.Policy | None) -> Child:
        if self.nursery:
            return self.nursery.start(channel, output=self.output, scratch=self.scratch)
        argv = [sys.executable, "-m", self.module, str(channel)]
        return start(
            sandbox.wrap(argv, policy) if policy else argv,
            output=self.output,
            env_extra={"PYTHONPATH": str(CHECKOUT), **self.environment},
            pass_fds=(channel,),
            scratch=self.scratch,
            isolation=self.isolation,
        )

    def await_opened(self, opened: type[Opened], timeout_s: float, late: str) -> Any:
        """An `Opened`, or what is said in its place. From now on the names of files are counted."""
        message, descriptors = self._message(timeout_s, late, {**self.answers, "opened": opened})
        if isinstance(message, Opened) and len(descriptors) == 2:
            self.traces = Traces(*descriptors)
            self.counts_traces = True
        else:
            _close(descriptors)
        self.why_uncounted = getattr(message, "why_uncounted", "")
        return self._unless_failed(message)

    def limit_traces(self, *, names: int, pages: int | None = None) -> None:
        """From now on, before it is given what nobody else may learn (traces.py). Ended when it is not alone and must
        be."""
        if self.traces:
            self.traces.limit(names=names, pages=pages)
            if pages is not None and self.child.company():
                raise Ended(Status.REJECTED, PROCESSES)

    def _excess(self) -> str:
        return self.traces.excess() if self.traces else ""

    @property
    def integrity(self) -> Integrity:
        """How much of the isolation in docs/security.md this process really has."""
        if self.sandbox.chosen == SandboxKind.NONE:
            return Integrity.NONE
        alone = self.sandbox.chosen == SandboxKind.LINUX and self.isolation is not Isolation.SESSION
        return Integrity.FULL if alone and self.counts_traces else Integrity.PARTIAL

    @property
    def choices(self) -> tuple[Choice, ...]:
        """What was found to fence it with, for the record."""
        reasons = {
            Isolation.NAMESPACE: "a process namespace, ended by the kernel as a whole",
            Isolation.CONTAINER: "this container, in which everything else is ended at once",
            Isolation.SESSION: "no namespaces are permitted here: what a recipe starts is searched for, and may escape",
        }
        isolation = Choice(what="process isolation", chosen=str(self.isolation), reason=reasons[self.isolation])
        if not self.why_uncounted:
            return self.sandbox, isolation
        return self.sandbox, isolation, Choice(what="kernel traces", chosen="not counted", reason=self.why_uncounted)

    def send(self, message: Contract, *descriptors: int) -> None:
        """Ended when the process is gone or does not read."""
        try:
            self.channel.send(message, fds=descriptors)
        except (ChannelClosed, TimeoutError):
            raise self.death() from None

    def ask(self, request: Contract, answer: type[Answer], timeout_s: float, late: str) -> Answer:
        self.send(request)
        return self.expect(answer, timeout_s, late)

    def expect(self, answer: type[Answer], timeout_s: float, late: str) -> Answer:
        """The next message, which must be an `answer`. late: what is said of the process after `timeout_s`."""
        message = self.receive(timeout_s, late)
        if not isinstance(message, answer):
            raise Ended(Status.REJECTED, f"the recipe's process said {_kind_of(message)} out of turn")
        return message

    def receive(self, timeout_s: float, late: str) -> Any:
        """The next message, any of the `answers`."""
        message, descriptors = self._message(timeout_s, late, self.answers)
        _close(descriptors)
        return self._unless_failed(message)

    def _unless_failed(self, message: Any) -> Any:
        if excess := self._excess():
            raise Ended(Status.REJECTED, excess)
        if isinstance(message, Failed):
            raise Ended(message.status, f"{ITS_WORDS}{message.reason}")
        return message

    def _message(self, timeout_s: float, late: str, answers: Mapping[str, type[Contract]]) -> tuple[Any, list[int]]:
        """With the files that came beside it, which the caller closes."""
        descriptors: list[int] = []
        try:
            content, descriptors = self._next(monotonic() + timeout_s)
            kind = str(content.get("kind"))
            if kind not in answers:
                raise ValueError(f"unknown message {kind[:40]!r}")
            return answers[kind].model_validate(content), descriptors
        except TimeoutError:
            raise Ended(Status.TIMED_OUT, f"the recipe's process {late}") from None
        except ChannelClosed:
            raise self.death() from None
        except ValueError as error:
            _close(descriptors)
            raise Ended(Status.REJECTED, f"the recipe's process broke the protocol: {str(error)[:300]}") from None

    def _next(self, deadline: float) -> tuple[dict, list[int]]:
        """ChannelClosed also when the process died and something it forked holds the channel open."""
        while not self.channel.waiting(max(0.0, min(LOOK_EVERY_S, deadline - monotonic()))):
            if self.child.poll() is not None and not self.channel.waiting(0):
                raise ChannelClosed("the other process is gone")
            if monotonic() >= deadline:
                break
        return self.channel.receive(deadline - monotonic())

    def waiting(self, timeout_s: float) -> bool:
        """Whether there is something to receive, or the process is gone, before `timeout_s`."""
        return self.channel.waiting(timeout_s) or self.child.poll() is not None

    def death(self) -> Ended:
        """Why a process that closed its channel died."""
        try:
            self.child.wait(DEATH_TIMEOUT_S)
        except TimeoutError:
            return Ended(Status.REJECTED, "the recipe's process closed its channel and went on")
        if excess := self._excess():
            return Ended(Status.REJECTED, excess)
        status = Status.OUT_OF_MEMORY if self.child.was_oom_killed() else Status.CRASHED
        return Ended(status, f"the recipe's process died: {self.child.exit_reason()}")

    def end(self) -> None:
        """Nothing of it is left afterwards: no process, no file. May be called twice.

        TimeoutError when a process survives SIGKILL.
        """
        if hasattr(self, "child"):
            self.child.kill()
        traces, self.traces = self.traces, None
        if traces:
            traces.close()
        if hasattr(self, "channel"):
            self.channel.close()
        _remove(self.scratch)
        with suppress(OSError):  # the folder around it, unless something else is in it
            self.scratch.parent.rmdir()


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _kind_of(message: Any) -> str:
    return str(getattr(message, "kind", "something"))


def new_scratch(folder: Path) -> Path:
    """A new folder in `folder`/scratch, the only one there, under a name that was never used and tells nothing.

    So a process finds nothing that an earlier one left, even where that could not be removed.
    """
    places = folder / "scratch"
    _remove(places)
    scratch = places / secrets.token_hex(8)
    scratch.mkdir(parents=True)
    return scratch


def _remove(folder: Path) -> None:
    """Also a tree too deep for Python's own recursion."""
    with suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        subprocess.run(["rm", "-rf", "--", str(folder)], check=False, stderr=subprocess.DEVNULL)


def enter(descriptor: int) -> Channel:
    """Fences this process for good, proves it, and says so. RuntimeError when the fence does not hold."""
    exit_with_parent()
    with suppress(OSError):  # there is none on macOS
        Path("/proc/self/oom_score_adj").write_text("1000")  # out of memory, the kernel ends the recipe, not its host
    channel = Channel.from_fd(descriptor)
    message, _ = channel.receive(ENTER_TIMEOUT_S)
    fence = Fence.model_validate(message)
    channel.send(Entered(sandbox=_apply(fence)))
    return channel


def send_opened(channel: Channel, opened: Opened) -> None:
    """The last step of our own code before a recipe is imported: all that it needs is imported by now."""
    descriptors: tuple[int, ...] = ()
    why = ""
    try:
        descriptors = counts()
    except OSError as error:
        why = f"{error.strerror or error}: what a recipe tells others by names and pages it asks for is not limited"
    channel.send(opened.model_copy(update={"why_uncounted": why}), fds=descriptors)
    _close(descriptors)


def _apply(fence: Fence) -> Choice:
    if not fence.enabled:
        return Choice(what="sandbox", chosen=SandboxKind.NONE, reason="ARE_SANDBOX=off")
    choice = sandbox.apply(fence.policy, alone=fence.alone, found=fence.found)
    if choice.chosen != SandboxKind.NONE:
        sandbox.verify(fence.policy, fence.must_fail)
    return choice
