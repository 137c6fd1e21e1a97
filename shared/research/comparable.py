"""Like with like: which results may be compared at all, and which of an idea's runs are evidence.

A run counts when it is ranked, was sandboxed, trained the idea's recipe on the seed that was drawn for it, and no seed
before it is missing. Of several results with one seed the worst counts, so nothing is gained by running one again. One
that took longer than its budget counts there too: a recipe could see that it has bad luck, and take its time. In a
pool, which others are compared with, the first counts: whoever ran a seed again until it is bad would gain by it.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from shared import time_budget
from shared.contracts import Contract, Integrity, Rung, RunResult, Shape, Status, Unranked
from shared.research.idea import Idea
from shared.research.rule import ENOUGH_SEEDS
from shared.runs.shipped import Asked, is_shipped
from shared.unranked import reasons_of

MOST_INDICES = 2 * ENOUGH_SEEDS
"""seeds drawn for one idea: four runs and a fresh one, or as many as a start needs to measure noise"""
MOST_AGAIN, MOST_AGAIN_SHIPPED = 3, 12
"""jobs for one run of an idea, where a cancelled, disturbed or unranked one measured nothing. A recipe that made itself
unranked whenever it has bad luck would choose its runs; a shipped one does not"""


class Key(Contract):
    """Results with equal keys compare, others do not."""

    hardware_key: str
    engine: str
    dataset: str
    """fingerprint"""
    budget_seconds: float
    rung: Rung
    eval_signature: str

    def __str__(self) -> str:
        where = f"{self.hardware_key} {self.engine}, {time_budget.said(self.budget_seconds)}"
        return f"{where}, rung {self.rung}, dataset {self.dataset[:8]}, evaluation {self.eval_signature[:8]}"


class LeftOut(StrEnum):
    """Why a run of an idea is no evidence."""

    UNRANKED = "unranked"
    NO_SANDBOX = "no_sandbox"
    OTHER_RECIPE = "other_recipe"
    OTHER_SHAPE = "other_shape"
    OTHER_TUNING = "other_tuning"
    """the machine was calibrated in between, and compiles, say, where it did not before; or a kernel was promoted"""
    OWN_TERMS = "own_terms"
    """asked for checkpoints or curve points of its own, which slow a run"""
    OTHER_SEED = "other_seed"
    """not one that was drawn for the idea"""
    REPEATED = "repeated"
    """another result with this seed is worse"""
    NOT_THE_FIRST = "not_the_first"
    """in a pool: a result with this seed was there before"""
    AFTER_A_GAP = "after_a_gap"
    """a seed before it has no result"""
    NOT_OVER = "not_over"
    """cancelled or void: to be run again on the same seed"""
    TRIED_TOO_OFTEN = "tried_too_often"
    """as many runs with this seed as one may take had measured nothing before it"""
    OTHER_KEY = "other_key"


IN_VAIN = frozenset({LeftOut.NOT_OVER, LeftOut.UNRANKED})


@dataclass(frozen=True)
class Evidence:
    """Of one idea for one key."""

    results: tuple[RunResult, ...] = ()
    """in the order of their seeds, each with a val_bpb"""
    failed: tuple[RunResult, ...] = ()
    """ended without a number through the recipe's own doing"""
    left_out: tuple[tuple[str, LeftOut], ...] = ()
    """(run, why)"""
    next_index: int = 0
    """seed to run next"""

    @property
    def values(self) -> list[float]:
        return [result.val_bpb for result in self.results if result.val_bpb is not None]

    @property
    def shape(self) -> Shape | None:
        return self.results[0].shape if self.results else None

    @property
    def first(self) -> RunResult | None:
        return self.results[0] if self.results else None

    def why_not(self, idea: Idea, result: RunResult) -> LeftOut | None:
        """None for what counts, also where that is a run over its budget."""
        if result in self.results:
            return None
        return why_not(idea, result) or dict(self.left_out).get(result.run_id)


def most_again(asked: Asked) -> int:
    """How many jobs one run of an idea may take."""
    return MOST_AGAIN_SHIPPED if is_shipped(asked) else MOST_AGAIN


def most_jobs(asked: Asked) -> int:
    """With those that another machine of the target took."""
    return max(2 * MOST_AGAIN, most_again(asked))


def key_of(result: RunResult) -> Key | None:
    """None for a result without a number, or under a token budget."""
    if result.rung is None or result.budget.seconds is None:
        return None
    return Key(
        hardware_key=result.hardware_key,
        engine=result.engine,
        dataset=result.dataset,
        budget_seconds=result.budget.seconds,
        rung=result.rung,
        eval_signature=result.eval_signature,
    )


def keys_of(idea: Idea, results: Iterable[RunResult]) -> list[Key]:
    """Of the runs of an idea that may be evidence, each once, the latest first."""
    found = [key_of(result) for result in results if why_not(idea, result) is None]
    return [*dict.fromkeys(key for key in reversed(found) if key is not None)]


def evidence(
    idea: Idea,
    key: Key,
    results: Iterable[RunResult],
    like: RunResult | None = None,
    chosen: Collection[str] = (),
    *,
    is_pool: bool = False,
) -> Evidence:
    """`results`: of all runs of the idea, wherever they ran. `like`: only runs of its shape and tuning count, but for
    what is `chosen`.

    `is_pool`: what others are compared with, as every start is.
    """
    is_pool = is_pool or idea.parent is None
    indices = {idea.seed(index): index for index in range(MOST_INDICES)}
    scored: dict[int, RunResult] = {}
    failed: dict[int, RunResult] = {}
    left_out: list[tuple[str, LeftOut]] = []
    overran: defaultdict[int, list[RunResult]] = defaultdict(list)
    vain: Counter[int] = Counter()
    most = most_again(idea)
    for result in results:
        why = why_not(idea, result) or _elsewhere(key, like, chosen, result)
        index = indices.get(result.seed)
        if why is None and vain[result.seed] >= most:
            why = LeftOut.TRIED_TOO_OFTEN
        vain[result.seed] += why in IN_VAIN and _measures_at(key, result)
        if why is None and index is not None:
            left_out += _take(scored if result.status is Status.OK else failed, index, result, is_pool)
            for late in overran.pop(index, ()):
                if index in scored and (late.val_bpb or 0.0) > (scored[index].val_bpb or 0.0):
                    left_out.remove((late.run_id, LeftOut.UNRANKED))
                    left_out += _take(scored, index, late, is_pool)
            continue
        only_late = why is LeftOut.UNRANKED and result.unranked == (Unranked.OVER_BUDGET,)
        if only_late and not is_pool and index is not None and _elsewhere(key, like, chosen, result) is None:
            overran[index].append(result)
        left_out.append((result.run_id, why or LeftOut.OTHER_SEED))
    if is_pool:
        failed = {index: result for index, result in failed.items() if index not in scored}
    return _without_gaps(scored, failed, left_out)


def why_not(idea: Idea, result: RunResult) -> LeftOut | None:
    """What keeps a run from being evidence for its idea, whatever the key. A recipe's own failure is evidence."""
    if result.recipe_sha != idea.recipe_sha or result.idea != idea.id:
        return LeftOut.OTHER_RECIPE
    if result.void is not None or result.status is Status.CANCELLED:
        return LeftOut.NOT_OVER
    if result.status is Status.OK and not result.ranked:
        return LeftOut.UNRANKED
    if result.budget.seconds is None:
        return LeftOut.UNRANKED
    if result.integrity in (None, Integrity.NONE) and result.status is Status.OK:
        return LeftOut.NO_SANDBOX
    return LeftOut.OWN_TERMS if result.own_terms else None


def said_of(why: LeftOut, result: RunResult) -> str:
    """The reason in its own words: what the run's record gives, where that is why it is left out."""
    if why is LeftOut.REPEATED:
        return "repeated: of several runs with one seed the worst counts, also one over its budget"
    if why is LeftOut.NOT_OVER and result.reason:
        return f"{why}: {result.reason}"
    if why is LeftOut.NOT_THE_FIRST:
        return "not_the_first: of several runs with one seed of what others are compared with the first counts"
    if why is LeftOut.OWN_TERMS:
        return "own_terms: it asked for checkpoints or curve points of its own, which slow a run"
    return reasons_of(result) if why is LeftOut.UNRANKED and result.unranked else str(why)


def _elsewhere(key: Key, like: RunResult | None, chosen: Collection[str], result: RunResult) -> LeftOut | None:
    if not _is_at(key, result):
        return LeftOut.OTHER_KEY
    if like is None:
        return None
    if like.shape and result.shape and _differ(like.shape.model_dump(), result.shape.model_dump(), chosen):
        return LeftOut.OTHER_SHAPE
    return LeftOut.OTHER_TUNING if _differ(like.tuning, result.tuning, chosen) else None


def _differ(one: Mapping[str, object] | None, other: Mapping[str, object] | None, chosen: Collection[str]) -> bool:
    """Where both are known, in anything that is not chosen."""
    if one is None or other is None:
        return False
    return any(value != other.get(name) for name, value in one.items() if name not in chosen)


def _is_at(key: Key, result: RunResult) -> bool:
    """A run without a number has no rung: it belongs to every rung of its budget."""
    return key_of(result) == key if result.status is Status.OK else _measures_at(key, result)


def _measures_at(key: Key, result: RunResult) -> bool:
    same = (result.hardware_key, result.engine, result.dataset, result.budget.seconds)
    return same == (key.hardware_key, key.engine, key.dataset, key.budget_seconds)


def _take(taken: dict[int, RunResult], index: int, result: RunResult, is_pool: bool) -> list[tuple[str, LeftOut]]:
    """Of two with one seed the worse stays, in a pool the first; what goes is returned."""
    other = taken.setdefault(index, result)
    if other is result:
        return []
    if is_pool:
        return [(result.run_id, LeftOut.NOT_THE_FIRST)]
    worse, better = sorted((result, other), key=lambda one: -(one.val_bpb or 0.0))
    taken[index] = worse
    return [(better.run_id, LeftOut.REPEATED)]


def _without_gaps(
    scored: Mapping[int, RunResult],
    failed: Mapping[int, RunResult],
    left_out: list[tuple[str, LeftOut]],
) -> Evidence:
    """Seeds count in their order, wherever else they were run: whoever leaves one out here gets nothing for the later
    ones, since its luck may be known from another machine."""
    results: list[RunResult] = []
    bad: list[RunResult] = []
    gap: int | None = None
    for index in range(MOST_INDICES):
        if index in failed:
            bad.append(failed[index])
        elif index in scored and gap is None:
            results.append(scored[index])
        elif index in scored:
            left_out.append((scored[index].run_id, LeftOut.AFTER_A_GAP))
        elif gap is None:
            gap = index
    return Evidence(tuple(results), tuple(bad), tuple(left_out), MOST_INDICES if gap is None else gap)
