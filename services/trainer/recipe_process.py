"""Entry of the process that runs the recipe: fenced before numpy, a framework or the recipe is imported.

python -m services.trainer.recipe_process DESCRIPTOR     (only the supervisor starts it)
"""

import sys
import traceback

from shared.sandbox.launch import enter

START_TIMEOUT_S = 60.0


def main(descriptor: int) -> int:
    """Everything that goes wrong becomes one Failed message."""
    channel = enter(descriptor)
    from services.trainer.session import Session

    message, _ = channel.receive(START_TIMEOUT_S)
    session = Session(channel, message)
    try:
        session.run()
    except Exception as error:
        traceback.print_exc()
        channel.send(session.failure(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
