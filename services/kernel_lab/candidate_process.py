"""Entry of the process that runs a candidate: fenced before a framework or the candidate is imported.

python -m services.kernel_lab.candidate_process DESCRIPTOR     (only the lab starts it)
"""

import sys
import traceback

from shared.sandbox.channel import ChannelClosed
from shared.sandbox.launch import enter

REQUEST_TIMEOUT_S = 24 * 3600.0  # the lab keeps the time; this process ends with it


def main(descriptor: int) -> int:
    """Everything that goes wrong becomes one Refused message."""
    channel = enter(descriptor)
    from services.kernel_lab.refusal import refusal
    from services.kernel_lab.server import Server

    message, descriptors = channel.receive(REQUEST_TIMEOUT_S)
    server = Server(message, *descriptors)
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
        channel.send(refusal(error))
        return 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
