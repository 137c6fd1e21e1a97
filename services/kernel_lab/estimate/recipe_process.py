"""Entry of the process that runs the recipe on tensors without values: fenced before anything else is imported.

python -m services.kernel_lab.estimate.recipe_process DESCRIPTOR     (only estimate.py starts it)
"""

import sys
import traceback

from shared.contracts import Status
from shared.sandbox.launch import Failed, enter

START_TIMEOUT_S = 60.0


def main(descriptor: int) -> int:
    """Everything that goes wrong becomes one Failed message."""
    channel = enter(descriptor)
    message, _ = channel.receive(START_TIMEOUT_S)
    from services.kernel_lab.estimate.messages import Count
    from services.kernel_lab.estimate.step import count_step
    from shared.runs.recipe_file import InvalidRecipe

    try:
        channel.send(count_step(Count.model_validate(message)))
    except Exception as error:
        traceback.print_exc()
        if isinstance(error, InvalidRecipe):
            channel.send(Failed(status=Status.INVALID, reason=str(error)))
        else:
            channel.send(Failed(status=Status.CRASHED, reason=f"{type(error).__name__}: {error}"))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
