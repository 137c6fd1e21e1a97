"""Entry of the process that runs a recipe's forward function: fenced before anything else is imported.

python -m services.evaluator.recipe_process DESCRIPTOR     (only the evaluator starts it)
"""

import sys
import traceback

from shared.sandbox.channel import ChannelClosed
from shared.sandbox.launch import enter, send_opened

REQUEST_TIMEOUT_S = 24 * 3600.0  # the evaluator keeps the time; this process ends with it


def main(descriptor: int) -> int:
    """Everything that goes wrong becomes one Failed message."""
    channel = enter(descriptor)
    from services.evaluator.server import Server

    message, descriptors = channel.receive(REQUEST_TIMEOUT_S)
    server = Server(message, *descriptors)
    try:
        send_opened(channel, server.open())
        channel.send(server.serve())
        while True:
            request, _ = channel.receive(REQUEST_TIMEOUT_S)
            channel.send(server.answer(request))
    except ChannelClosed:
        return 0
    except Exception as error:
        traceback.print_exc()
        channel.send(server.failure(error))
        return 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
