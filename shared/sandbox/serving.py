"""What a process with untrusted code in it does for its parent: it is fenced, opens, loads the code, then answers.

    if __name__ == "__main__":
        sys.exit(serve(int(sys.argv[1]), "services.evaluator.server"))

The module has a class Server and is imported behind the fence, as everything it imports is.
"""

import importlib
import traceback
from typing import Any, Protocol

from shared.contracts import Contract
from shared.sandbox.channel import ChannelClosed
from shared.sandbox.launch import enter

REQUEST_TIMEOUT_S = 24 * 3600.0  # the parent keeps the time; this process ends with it


class Server(Protocol):
    def __init__(self, request: dict[str, Any], *descriptors: int):
        """Of the first message, and the files that came with it."""

    def open(self) -> Contract:
        """Answered before anything untrusted is imported: nobody can have forged it."""

    def load(self) -> Contract:
        """Imports the untrusted code."""

    def answer(self, request: dict[str, Any]) -> Contract:
        """To one request."""

    def failure(self, error: BaseException) -> Contract:
        """What is said of an error, in place of an answer."""


def serve(descriptor: int, module: str) -> int:
    """Everything that goes wrong with the server becomes one message."""
    channel = enter(descriptor)
    message, descriptors = channel.receive(REQUEST_TIMEOUT_S)
    server: Server = importlib.import_module(module).Server(message, *descriptors)
    try:
        channel.send(server.open())
        channel.send(server.load())
        while True:
            request, _ = channel.receive(REQUEST_TIMEOUT_S)
            channel.send(server.answer(request))
    except ChannelClosed:
        return 0
    except BaseException as error:
        traceback.print_exc()
        channel.send(server.failure(error))
        return 1
