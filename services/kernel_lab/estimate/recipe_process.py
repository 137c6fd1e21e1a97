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
        status = Status.INVALID if isinstance(error, InvalidRecipe) else Status.CRASHED
        reason = str(error) if isinstance(error, InvalidRecipe) else f"{type(error).__name__}: {error}"
        channel.send(Failed(status=status, reason=reason))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
