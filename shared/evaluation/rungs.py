"""Evaluation rungs: how many tokens each scores, which rows those are, and which rung a run can afford.

Pure: no I/O, no framework. The measured costs come from shared/evaluation/costs.py; why the numbers are what they are:
docs/evaluation-rungs.md.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Literal

from shared.contracts import Rung, RungChoice
from shared.evaluation.costs import CostKey, EvalCost, signature

if TYPE_CHECKING:
    import numpy as np

EVAL_SEQ_LEN = 2048
RUNG_TOKENS = {
    Rung.SMOKE: 8_192, Rung.PROBE: 131_072, Rung.CHEAP: 262_144, Rung.REFERENCE: 1_572_864, Rung.FULL: 20_971_520,
}  # fmt: skip
SLICES = 64
"""probe takes 1 row, cheap 2 and reference 12 from each slice's start, so each one's rows are among the next one's;
smoke takes one row from every sixteenth slice: the first rows of a corpus are its longest documents, which say little
of the others"""
SEMANTICS_VERSION = 3
"""Raise it when the number means something else, or other recipes get one, although the fields of eval_signature()
stay. 2: an honest recipe has the number it had in 1 to rounding, but 1 also gave numbers to constant logits and to
look-ahead that its audit missed; such results must not be ranked beside later ones. 3: what an edited source could
know of the text is added; a shipped recipe has the number it had in 2."""

BUDGET_SHARE = {Rung.FULL: 0.01, Rung.REFERENCE: 0.06}
AGING_AFTER = timedelta(days=30)
STALE_AFTER = timedelta(days=90)
STABLE_RUNS = 3
STABLE_RUNGS = 2
STABLE_RELATIVE_MAD = 0.05

Confidence = Literal["none", "single", "repeated", "stable"]
Freshness = Literal["fresh", "aging", "stale", "none"]


def rows_for(rung: Rung, num_validation_rows: int) -> "np.ndarray":
    """Indices of the packed validation rows to score, int64, ascending and unique.

    ValueError when there is no row. A corpus with fewer rows than the rung is scored whole: see `shortfall`.
    """
    import numpy as np  # most who import this module ask for a rung and for no rows

    horizon = _horizon(num_validation_rows)
    num_rows = RUNG_TOKENS[rung] // EVAL_SEQ_LEN
    if rung is Rung.FULL or num_rows >= horizon:
        return np.arange(min(num_rows, horizon), dtype=np.int64)
    num_slices = min(SLICES, num_rows)
    middles = np.arange(num_slices) * SLICES // num_slices + SLICES // num_slices // 2
    starts = middles.astype(np.int64) * horizon // SLICES
    return (starts[:, None] + np.arange(num_rows // num_slices)).ravel()


def shortfall(rung: Rung, num_validation_rows: int) -> str:
    """What to tell the user when the corpus is smaller than the rung; empty when it is not."""
    num_rows = RUNG_TOKENS[rung] // EVAL_SEQ_LEN
    if num_validation_rows >= num_rows:
        return ""
    return f"{rung} asks for {num_rows} validation rows, this corpus has {num_validation_rows}: all of them were used"


def tokens_for(rung: Rung, num_validation_rows: int) -> int:
    return min(RUNG_TOKENS[rung], _horizon(num_validation_rows) * EVAL_SEQ_LEN)


def _horizon(num_validation_rows: int) -> int:
    """Rows the rungs are drawn from: what `full` reads, or all of a smaller corpus."""
    if num_validation_rows < 1:
        raise ValueError("the dataset has no validation rows: prepare it again with more text")
    return min(num_validation_rows, RUNG_TOKENS[Rung.FULL] // EVAL_SEQ_LEN)


def evaluation_batch(total_batch_size: int) -> int:
    """Rows of 2048 tokens in one evaluation pass: as many tokens as one optimizer step, at least one row."""
    return max(1, total_batch_size // EVAL_SEQ_LEN)


def eval_signature() -> str:
    """What a val_bpb means, except for its rung: results are comparable when this, rung and dataset agree.

    The rung `probe` came later and is left out: what was scored on the others before means the same.
    """
    return signature(
        kind="eval",
        version=SEMANTICS_VERSION,
        seq_len=EVAL_SEQ_LEN,
        rung_tokens={str(rung): tokens for rung, tokens in RUNG_TOKENS.items() if rung is not Rung.PROBE},
        slicing=f"{SLICES} slices from floor(i * horizon / {SLICES}); smoke the first rows of slices 8, 24, 40, 56; "
        "full from row 0",
        byte_counting="raw token bytes, specials excluded from nats and bytes",
    )


@dataclass(frozen=True)
class Timing:
    """What the measurements of one machine say about one shape and runtime."""

    confidence: Confidence
    freshness: Freshness
    per_token_s: dict[Rung, float]
    limit: str = ""
    """why nothing can be concluded from them; empty when something can"""

    def cost_s(self, rung: Rung, num_tokens: int) -> float:
        """Projected from the largest measured rung when this one was not: small ones overstate the cost per token."""
        nearest = rung if rung in self.per_token_s else max(self.per_token_s, key=RUNG_TOKENS.__getitem__)
        return self.per_token_s[nearest] * num_tokens


def choose_rung(
    requested: str,
    *,
    budget_s: float | None,
    costs: Sequence[EvalCost],
    key: CostKey,
    num_validation_rows: int,
    now: datetime,
) -> RungChoice:
    """The rung to score with, and what allowed it.

    `budget_s` is the training budget, or the expected training time of a token budget (None when unknown); `costs`
    are all measurements there are, `key` is what this run looks like. A named rung is always honoured.
    """
    timing = read_timing(costs, key, now)
    if requested != "auto":
        return _choice(Rung(requested), "requested", timing, f"{requested} was asked for by name")
    limit = timing.limit or ("" if budget_s else "a token budget whose training time is not known")
    if limit:
        return _choice(Rung.CHEAP, "fallback", timing, f"{limit}: the canonical cheap rung")
    rung, reason = _affordable(timing, float(budget_s or 0), num_validation_rows)
    return _choice(rung, "measured" if rung in timing.per_token_s else "projected", timing, reason)


def _choice(
    rung: Rung, status: Literal["requested", "measured", "projected", "fallback"], timing: Timing, reason: str
) -> RungChoice:
    return RungChoice(rung=rung, status=status, confidence=timing.confidence, freshness=timing.freshness, reason=reason)


def _affordable(timing: Timing, budget_s: float, num_validation_rows: int) -> tuple[Rung, str]:
    """The largest rung nothing speaks against; the reason tells what kept the larger ones out."""
    objections: list[str] = []
    for rung, smaller in ((Rung.FULL, Rung.REFERENCE), (Rung.REFERENCE, Rung.CHEAP)):
        objection = _objection(rung, smaller, timing, budget_s, num_validation_rows)
        if not objection:
            return rung, "; ".join([_price(rung, timing, budget_s, num_validation_rows), *objections])
        objections.append(objection)
    return Rung.CHEAP, "; ".join([_price(Rung.CHEAP, timing, budget_s, num_validation_rows), *objections])


def _objection(rung: Rung, smaller: Rung, timing: Timing, budget_s: float, num_validation_rows: int) -> str:
    if tokens_for(rung, num_validation_rows) == tokens_for(smaller, num_validation_rows):
        return f"{rung} would score the same rows as {smaller} in this corpus"
    if _share(rung, timing, budget_s, num_validation_rows) > BUDGET_SHARE[rung]:
        return f"{_price(rung, timing, budget_s, num_validation_rows)}, above {BUDGET_SHARE[rung]:.0%}"
    if rung is Rung.FULL and timing.confidence != "stable":
        return (
            f"full needs stable timing (>= {STABLE_RUNS} runs within {STABLE_RELATIVE_MAD:.0%} on >= {STABLE_RUNGS} "
            f"rungs), this is {timing.confidence}"
        )
    if rung is Rung.FULL and timing.freshness != "fresh":
        return f"full needs a measurement of the last {AGING_AFTER.days} days"
    return ""


def _share(rung: Rung, timing: Timing, budget_s: float, num_validation_rows: int) -> float:
    return timing.cost_s(rung, tokens_for(rung, num_validation_rows)) / budget_s


def _price(rung: Rung, timing: Timing, budget_s: float, num_validation_rows: int) -> str:
    how = "costs" if rung in timing.per_token_s else "is projected to cost"
    return f"{rung} {how} {_share(rung, timing, budget_s, num_validation_rows):.2%} of the budget"


def read_timing(costs: Sequence[EvalCost], key: CostKey, now: datetime) -> Timing:
    """Confidence, freshness and cost per token from the measurements that match `key`, on rungs that are ranked."""
    matching, limit = _matching([cost for cost in costs if cost.rung.is_ranked], key)
    if not matching:
        return Timing("none", "none", {}, limit)
    age = now - max(cost.measured_at for cost in matching)
    if age > STALE_AFTER:
        limit = f"the last measurement is {age.days} days old, stale after {STALE_AFTER.days}"
        return Timing(_confidence(matching), "stale", {}, limit)
    recent = [cost for cost in matching if now - cost.measured_at <= STALE_AFTER]
    per_token_s = {rung: median(values) for rung, values in _by_rung(recent).items()}
    return Timing(_confidence(recent), "aging" if age > AGING_AFTER else "fresh", per_token_s)


def _matching(costs: Sequence[EvalCost], key: CostKey) -> tuple[list[EvalCost], str]:
    """The costs that agree with the key in every field, or the first field in which none does, in words."""
    remaining = list(costs)
    for field, limit in (
        ("hardware_key", f"no evaluation was timed on {key.hardware_key} yet"),
        ("eval_signature", "the evaluation changed since it was timed here"),
        ("runtime_signature", "engine, framework version, dtype or attention changed since it was timed here"),
        ("shape_signature", "no evaluation of this shape and evaluation batch was timed here yet"),
    ):
        remaining = [cost for cost in remaining if getattr(cost, field) == getattr(key, field)]
        if not remaining:
            return [], limit
    return remaining, ""


def _by_rung(costs: Sequence[EvalCost]) -> dict[Rung, list[float]]:
    """Seconds per token, one value a run: a run's repeated passes on a rung are one checkpoint's opinion."""
    passes: dict[tuple[Rung, str], list[float]] = defaultdict(list)
    for cost in costs:
        passes[cost.rung, cost.run_id].append(cost.seconds_per_token)
    by_rung: dict[Rung, list[float]] = defaultdict(list)
    for (rung, _), values in passes.items():
        by_rung[rung].append(median(values))
    return by_rung


def _confidence(costs: Sequence[EvalCost]) -> Confidence:
    if len({cost.run_id for cost in costs}) == 1:
        return "single"
    steady = [rung for rung, values in _by_rung(costs).items() if len(values) >= STABLE_RUNS and _is_steady(values)]
    return "stable" if len(steady) >= STABLE_RUNGS else "repeated"


def _is_steady(values: Sequence[float]) -> bool:
    middle = median(values)
    return median(abs(value - middle) for value in values) <= STABLE_RELATIVE_MAD * middle
