"""What the supervisor allows around the clock, and how its clock is compared with the recipe process's own."""

from services.trainer.clock import LONGEST_OVERRUN_S
from services.trainer.messages import Trained
from shared.contracts import Job, Rung, Status
from shared.machine.device import Device
from shared.sandbox.launch import Ended
from shared.settings import settings

CLOCK_SLACK_S = 1.0
CLOCK_SLACK_SHARE = 0.01
OVERRUN_SLACK_SHARE = 0.002
KILL_AFTER_S = 4.0
SMOKE_GRACE_S = 120.0  # a smoke run is never ranked, and must pass on a machine that is busy with something else
LONGEST_TOKEN_BUDGET_S = 24 * 3600.0
FILE_NAMES, EAGER_FILE_NAMES = 20_000, 3_000
"""how many calls may name a file once there are rows. Where kernels are compiled, a graph of them may be compiled
again; elsewhere it is modules and files of the recipe's own. docs/security.md says what they could leave for a later
run"""
EAGER_STARTUP_S, EAGER_STARTUP_SHARE = 180.0, 0.2
BUILD_S, BUILD_OPENINGS, BUILD_SHARE = 10.0, 5.0, 0.05
EARLY_S, EARLY_OPENINGS, EARLY_SHARE = 2.0, 2.0, 0.05
"""what building and warming up may take before it counts as training: seconds, times the engine's opening, and part of
the budget"""
LEAST_OPENING_S, MOST_OPENING_S = 1.0, 5.0
"""what an opening is taken for, at least and at most: MLX is open in a hundredth of a second, and its first step takes
as long as PyTorch's; and whoever keeps the machine busy while the engine opens would have more time for free"""
METAL_S = 10.0
"""more on an Apple chip, whose kernels are compiled meanwhile. An estimate: nobody has measured it"""
UNSEEN_OPENINGS = 25.0
"""in place of EARLY_OPENINGS on a GPU whose driver does not tell when it computes"""


def is_eager(job: Job) -> bool:
    """Nothing is compiled, so that starting takes no longer than reading the packages."""
    return job.compile != "on" and Device.parse(job.device).is_cpu


def most_names(job: Job) -> int:
    return EAGER_FILE_NAMES if is_eager(job) else FILE_NAMES


def startup_limit_s(job: Job) -> float:
    """Longest time from the start to a warmed-up recipe.

    Before the clock a recipe has no rows, but it could train on what text it finds among the program files. Where
    nothing is compiled there is no reason to take long: three minutes and a fifth of the budget.
    """
    longest = settings().startup_timeout_s
    return (
        min(longest, EAGER_STARTUP_S + EAGER_STARTUP_SHARE * (job.budget.seconds or 0.0)) if is_eager(job) else longest
    )


def build_limit_s(job: Job, opening_s: float) -> float:
    """Longest time for importing the recipe and build().

    opening_s: how long our own code took to import the framework and open the device, just before.
    """
    if not is_eager(job):  # kernels are probed and compiled in build()
        return settings().startup_timeout_s
    return BUILD_S + BUILD_OPENINGS * opening_s + BUILD_SHARE * (job.budget.seconds or 0.0)


def free_before_clock_s(job: Job, opening_s: float, *, gpu_seen: bool) -> float:
    """Seconds before the clock that do not count as training, though a recipe could train on text that comes with
    Python: of building and warming up together. On a GPU that is seen they are of computing there, so that compiling is
    free; everywhere else of the clock.

    opening_s: as in build_limit_s.
    """
    device, budget_s = Device.parse(job.device), job.budget.seconds
    if budget_s is None or job.rung is Rung.SMOKE:  # never ranked
        return float("inf")
    free_s = EARLY_S + EARLY_SHARE * budget_s
    usual_opening_s = min(MOST_OPENING_S, max(LEAST_OPENING_S, opening_s))
    if gpu_seen:
        return free_s + EARLY_OPENINGS * LEAST_OPENING_S
    if device.is_cuda:
        return free_s + UNSEEN_OPENINGS * usual_opening_s
    return free_s + EARLY_OPENINGS * usual_opening_s + (METAL_S if device.is_apple else 0.0)


def check_clocks(job: Job, trained: Trained, seconds: float) -> None:
    """The two clocks must agree, and a time budget may be overrun by at most one step, and no long one."""
    slack = CLOCK_SLACK_S + CLOCK_SLACK_SHARE * seconds
    if abs(trained.train_seconds - seconds) > slack:
        reason = f"the recipe's clock says {trained.train_seconds:.1f} s, the supervisor's {seconds:.1f} s"
        raise Ended(Status.REJECTED, reason)
    budget = job.budget.seconds
    if budget is None or job.rung is Rung.SMOKE:
        return
    allowed = CLOCK_SLACK_S + OVERRUN_SLACK_SHARE * budget + min(seconds / max(1, trained.num_steps), LONGEST_OVERRUN_S)
    if seconds > budget + allowed:
        reason = f"trained {seconds:.1f} s on a budget of {budget:g} s in {trained.num_steps} steps"
        raise Ended(Status.TIMED_OUT, f"{reason}: take smaller steps")
