"""Why a number is not ranked, in words, and what that means for an idea whose run it is of."""

from shared.contracts import RunResult, Status, Unranked

WHY_UNRANKED = {
    Unranked.NOT_OK: "it has no number",
    Unranked.SMOKE_RUNG: "a smoke run shows that everything works",
    Unranked.DEMO_CORPUS: "stdlib is a demo corpus, whose text is on every machine that has Python",
    Unranked.TOKEN_BUDGET: "under a token budget the recipe's own process counts the steps",
    Unranked.OVER_BUDGET: "it computed for longer than its budget; run it again when the machine is idle",
    Unranked.BUSY_MACHINE: "others used this machine's processors meanwhile; run it again when the machine is idle",
}


def is_in_vain(result: RunResult) -> bool:
    """Whether it is an idea's and has a number that is compared with nothing."""
    return result.idea is not None and result.status is Status.OK and not result.ranked


def in_vain(result: RunResult) -> str:
    """One line about an idea's run that does not count."""
    why = "; ".join(WHY_UNRANKED[reason] for reason in result.unranked)
    again = f"`autoresearch decide {result.idea} --wait` makes the run again"
    return f"{result.run_id} does not count for idea {result.idea}: it is not ranked ({why}); {again}"
