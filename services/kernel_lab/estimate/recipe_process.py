"""Entry of the process that runs the recipe on tensors without values: fenced before anything else is imported.

python -m services.kernel_lab.estimate.recipe_process DESCRIPTOR     (only estimate.py starts it)
"""

import sys
import traceback
from typing import TYPE_CHECKING

from shared.contracts import Status
from shared.sandbox.launch import Failed, enter

if TYPE_CHECKING:
    from services.kernel_lab.estimate.messages import Count
    from shared.kernel_lab.estimate import StepCount

START_TIMEOUT_S = 60.0


def main(descriptor: int) -> int:
    """Everything that goes wrong becomes one Failed message."""
    channel = enter(descriptor)
    message, _ = channel.receive(START_TIMEOUT_S)
    from services.kernel_lab.estimate.messages import Count
    from shared.runs.recipe_file import InvalidRecipe

    try:
        channel.send(count(Count.model_validate(message)))
    except Exception as error:
        traceback.print_exc()
        if isinstance(error, InvalidRecipe):
            channel.send(Failed(status=Status.INVALID, reason=str(error)))
        else:
            channel.send(Failed(status=Status.CRASHED, reason=f"{type(error).__name__}: {error}"))
        return 1
    return 0


def count(request: "Count") -> "StepCount":
    """By the framework of the target, which is imported here."""
    if request.target == "mac":
        from services.kernel_lab.estimate.mlx_step import count_step as of_mlx

        return of_mlx(request)
    from services.kernel_lab.estimate.step import count_step

    return count_step(request)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
