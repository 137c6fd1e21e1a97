"""Starting a recipe's process inside the sandbox, and entering the sandbox in it: the same for trainer and evaluator.

parent:  child, channel = start_fenced("services.trainer.recipe_process", run, scratch=..., output=...)
child:   channel, choice = enter(int(sys.argv[1]))     before anything untrusted is imported
"""

import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic

from shared import sandbox
from shared.contracts import Choice, Contract
from shared.runs.directory import RunDirectory
from shared.sandbox.channel import Channel, ChannelClosed
from shared.sandbox.processes import Child, exit_with_parent, start
from shared.settings import CHECKOUT, settings

ENTER_TIMEOUT_S = 60.0
LOOK_EVERY_S = 0.5


class Fence(Contract):
    """The first message to a recipe's process."""

    enabled: bool
    policy: sandbox.Policy
    must_fail: tuple[Path, ...]
    """what the process tries to read once it is fenced, and may not"""


def start_fenced(
    module: str,
    run: RunDirectory,
    *,
    scratch: Path,
    output: Path,
    writable: Sequence[Path] = (),
    readable: Sequence[Path] = (),
    secret: Sequence[Path] = (),
    environment: Mapping[str, str] | None = None,
) -> tuple[Child, Channel]:
    """`python -m module DESCRIPTOR`. The child tries the `secret` paths in vain; the caller removes `scratch`.

    A secret that is not even here for us, as in a container without it, needs no fence.
    """
    shutil.rmtree(scratch, ignore_errors=True)  # what a killed attempt left is not for this one to read
    scratch.mkdir()
    policy = sandbox.recipe_policy(
        CHECKOUT,
        writable=(scratch, *writable),
        extra_readable=(run.recipe_file, *readable),
        protected=(*(settings().home / kind for kind in ("datasets", "validation", "corpora")), settings().runs),
    )
    channel, theirs = Channel.pair()
    enabled = settings().sandbox == "on"
    argv = [sys.executable, "-m", module, str(theirs.fileno())]
    argv = sandbox.wrap(argv, policy) if enabled else argv
    extra = {"PYTHONPATH": str(CHECKOUT), **(environment or {})}
    child = start(argv, output=output, env_extra=extra, pass_fds=(theirs.fileno(),), scratch=scratch)
    theirs.close()
    channel.send(Fence(enabled=enabled, policy=policy, must_fail=tuple(path for path in secret if path.exists())))
    return child, channel


def receive(child: Child, channel: Channel, timeout_s: float) -> tuple[dict, list[int]]:
    """As Channel.receive. ChannelClosed also when the process died and something it forked holds the channel open."""
    deadline = monotonic() + timeout_s
    while not channel.waiting(max(0.0, min(LOOK_EVERY_S, deadline - monotonic()))):
        if child.poll() is not None and not channel.waiting(0):
            raise ChannelClosed("the other process is gone")
        if monotonic() >= deadline:
            break
    return channel.receive(deadline - monotonic())


def enter(descriptor: int) -> tuple[Channel, Choice]:
    """Fences this process for good and proves it. RuntimeError when the fence does not hold."""
    exit_with_parent()
    with suppress(OSError):  # there is none on macOS
        Path("/proc/self/oom_score_adj").write_text("1000")  # out of memory, the kernel ends the recipe, not its host
    channel = Channel.from_fd(descriptor)
    message, _ = channel.receive(ENTER_TIMEOUT_S)
    fence = Fence.model_validate(message)
    if not fence.enabled:
        return channel, Choice(what="sandbox", chosen="none", reason="ARE_SANDBOX=off")
    choice = sandbox.apply(fence.policy)
    if choice.chosen != "none":
        sandbox.verify(fence.policy, fence.must_fail)
    return channel, choice
