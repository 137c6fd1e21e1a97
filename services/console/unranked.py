"""Why a number is not ranked, in words, and what that means for an idea whose run it is of."""

from shared.contracts import RunResult, Status, Unranked
from shared.unranked import BY_THE_MACHINE, by_how_much

WHY_UNRANKED = {
    Unranked.NOT_OK: "it has no number",
    Unranked.SMOKE_RUNG: "smoke and probe score too little text to rank a run",
    Unranked.DEMO_CORPUS: "stdlib is a demo corpus, whose text is on every machine that has Python",
    Unranked.TOKEN_BUDGET: "under a token budget the recipe's own process counts the steps",
    Unranked.OVER_BUDGET: "it computed for longer than its budget",
    Unranked.BUSY_MACHINE: "others used this machine's processors meanwhile",
}


def why_unranked(result: RunResult) -> str:
    """With how much it missed."""
    said = [": ".join(filter(None, (WHY_UNRANKED[one], by_how_much(one, result)))) for one in result.unranked]
    return "; ".join(said)


def meaning(result: RunResult) -> str:
    """Of a run that is not ranked, one sentence for who made it."""
    again = " Run it again when the machine is idle." if BY_THE_MACHINE & set(result.unranked) else ""
    return f"Not ranked, not comparable: {why_unranked(result)}.{again}"


def is_in_vain(result: RunResult) -> bool:
    """Whether it is an idea's and has a number that is compared with nothing."""
    return result.idea is not None and result.status is Status.OK and not result.ranked


def in_vain(result: RunResult) -> str:
    """One line about an idea's run that does not count."""
    again = f"`autoresearch decide {result.idea} --wait` makes the run again"
    if result.unranked == (Unranked.OVER_BUDGET,):
        again += ", and the worse of the two numbers counts then"
    elif BY_THE_MACHINE & set(result.unranked):
        again += ": let the machine be idle meanwhile"
    told = f"it is not ranked ({why_unranked(result)})"
    return f"{result.run_id} does not count for idea {result.idea}: {told}; {again}"
