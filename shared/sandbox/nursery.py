"""A process that has imported a framework and nothing untrusted, and forks recipe processes that begin where it stands.

python -m shared.sandbox.nursery DESCRIPTOR SERVER MODULE...     (only preloaded.py starts it)

Importing a framework takes seconds, and an evaluation needs two processes that have. Each is a fork in a world of its
own (launcher.py): it finds nothing of an earlier one, since this process never hears of any, and what it writes to its
memory nobody else sees. It fences itself afterwards, as one that was started anew does.
"""

import importlib
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL

from shared.contracts import Contract
from shared.sandbox.channel import Channel, ChannelClosed
from shared.sandbox.launcher import die_with, run_alone
from shared.sandbox.serving import REQUEST_TIMEOUT_S, serve

ADOPTION_TIMEOUT_S = 5.0


class Start(Contract):
    """With it come its end of a channel, where its output goes, and where its process id is said."""

    environment: dict[str, str]


class Imported(Contract):
    at: float
    """of the monotonic clock, which is one for all processes"""


def main(descriptor: int, server: str, modules: Sequence[str]) -> None:
    """server: the module that every process serves (serving.py)"""
    # Since Python 3.12, said of a fork beside threads, which could hold a lock: those of imported libraries only wait.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    owner, channel = os.getppid(), Channel.from_fd(descriptor)
    for module in (server, *modules):
        importlib.import_module(module)
    check_unshared(Path("/proc/self/maps").read_text())
    channel.send(Imported(at=time.monotonic()))
    with suppress(ChannelClosed):
        while True:
            message, descriptors = channel.receive(REQUEST_TIMEOUT_S)
            _fork_twice(owner, server, Start.model_validate(message).environment, descriptors)
            for received in descriptors:
                os.close(received)


def check_unshared(maps: str) -> None:
    """RuntimeError when an import left memory that forks would share: one could tell the next what it saw."""
    for line in maps.splitlines():
        _, access, *_ = line.split(maxsplit=2)
        if "w" in access and "s" in access:
            raise RuntimeError(f"an import maps memory that processes share: {line}")


def _fork_twice(owner: int, server: str, environment: Mapping[str, str], descriptors: Sequence[int]) -> None:
    """The process between them ends, so that `owner`, which adopts orphans, becomes the parent of the second one."""
    between = os.fork()
    if between:
        os.waitpid(between, 0)
        return
    if os.fork():
        os._exit(0)
    try:
        _be_adopted(owner)
        channel, output, pid = descriptors
        _begin_session(output, pid)
        run_alone(lambda: _become(server, environment, channel))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _be_adopted(owner: int) -> None:
    deadline = time.monotonic() + ADOPTION_TIMEOUT_S
    while os.getppid() != owner and time.monotonic() < deadline:
        time.sleep(0.0005)
    die_with(owner, SIGKILL)


def _begin_session(output: int, pid: int) -> None:
    os.setsid()
    os.write(pid, str(os.getpid()).encode())
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in enumerate((nothing, output, output)):
        os.dup2(source, target)


def _become(server: str, environment: Mapping[str, str], channel: int) -> None:
    """Nothing is open but the channel and the output. What was drawn or looked up while modules were imported is drawn
    and looked up anew."""
    os.closerange(3, channel)
    os.closerange(channel + 1, 1 << 20)
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)
    tempfile.tempdir = None
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()
    code = serve(channel, server)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
