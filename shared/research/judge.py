"""One idea judged on what is known: its evidence and its parent's for one key, the noise there, and the rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from shared.contracts import RunResult, Unranked
from shared.experiment.platform_default import PlatformDefault
from shared.research import steps
from shared.research.book import Ruling
from shared.research.comparable import Evidence, Key, LeftOut, said_of
from shared.research.comparable import why_not as why_not_run
from shared.research.idea import Idea
from shared.research.known import Known, rule_for
from shared.research.made import Made
from shared.research.noise import Noise, how_to_measure, is_denied, is_too_large, measured, why_not
from shared.research.rule import ENOUGH_SEEDS, FEWEST_SEEDS, Decision, Verdict, resolves
from shared.runs.shipped import is_shipped

OTHERWISE = (LeftOut.OTHER_SHAPE, LeftOut.OTHER_TUNING)
ADVICE = {
    Unranked.DEMO_CORPUS: "runs on the demo corpus are never ranked: `autoresearch prepare --corpus climbmix` on the "
    "worker's machine, or parquet:DIR with text of your own, makes a dataset that counts",
    Unranked.BUSY_MACHINE: "let this machine do nothing else while an idea runs, or send it to another one, then "
    "decide again with --wait",
    Unranked.OVER_BUDGET: "its training, with what it computed beside it (choice `compute beside the budget`), took "
    "longer than the budget: submit it with a longer --time-budget, or decide again with --wait, which runs the same "
    "seed again; the worse of the two numbers counts then",
}


@dataclass(frozen=True)
class Judged:
    idea: Idea
    key: Key | None
    decision: Decision
    noise: Noise | None
    runs: Evidence
    pool: Evidence
    advice: str = ""
    """what to do next, where the decision does not say it"""
    against: Idea | None = None
    """whose runs the pool is; None: nobody's"""
    again: bool = False
    """a keep is tried again: it stands until this is decided"""
    made: tuple[Made, ...] = ()
    """what was run for it, in this call"""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """why a run of it is no evidence, in words"""

    @property
    def num_seen(self) -> int:
        """Runs that count, whatever their end."""
        return sum(len(side.results) + len(side.failed) for side in (self.runs, self.pool))

    @property
    def resolves(self) -> dict[str, float]:
        """Smallest effect on what it is held against, by number of runs; of a start, on itself. Empty: no noise."""
        pool = self.runs if self.idea.parent is None else self.pool
        return resolves(self.noise, len(pool.results)) if self.noise else {}


def judge(
    known: Known,
    idea: Idea,
    key: Key | None,
    default: PlatformDefault | None,
    *,
    again: bool = False,
    by_queue: bool = False,
) -> Judged:
    """`key` None: the idea has no evidence yet. `default`: of the key's machine, None when nobody knows one.

    `again`: as if a keep had not been decided yet, by what is known today. ValueError for what was not kept.
    `by_queue`: what is advised goes to the machines of a hub.
    """
    judged, results = _judge(known, idea, key, default, again=again), known.results.get(idea.id, ())
    reasons = dict(judged.runs.left_out)
    left_out = {one.run_id: said_of(reasons[one.run_id], one) for one in results if one.run_id in reasons}
    left_out |= {name: _gap_said(idea, judged.runs) for name, why in reasons.items() if why is LeftOut.AFTER_A_GAP}
    advice = judged.advice or _how_to_measure(known, judged, default, by_queue)
    return replace(judged, left_out=left_out, advice=advice)


def _gap_said(idea: Idea, runs: Evidence) -> str:
    missing = f"its run {runs.next_index}, with seed {idea.seed(runs.next_index)}"
    return (
        f"{LeftOut.AFTER_A_GAP}: {missing}, has no result here, and runs count in their order, wherever else they ran"
    )


def _how_to_measure(known: Known, judged: Judged, default: PlatformDefault | None, by_queue: bool) -> str:
    """Where nothing but the noise is missing for a verdict."""
    runs, key = judged.runs.results, judged.key
    if judged.noise or judged.idea.parent is None or not runs or key is None:
        return ""
    if judged.decision.verdict is not Verdict.UNDECIDED:
        return ""
    why = why_not(default, key, judged.pool.shape or judged.runs.shape) or "no noise floor"
    start = known.lineage(judged.idea)[0]
    shipped = start.id if start in _shipped_starts(known) else None
    return how_to_measure(why, shipped, runs[-1].target if by_queue else None)


def _shipped_starts(known: Known) -> list[Idea]:
    return [one for one in known.ideas.values() if one.kind == "start" and is_shipped(one)]


def _judge(known: Known, idea: Idea, key: Key | None, default: PlatformDefault | None, *, again: bool) -> Judged:
    if key is None:
        return _without_evidence(known, idea)
    runs = known.evidence(idea, key)
    if idea.parent is None:
        return _judge_start(known, idea, key, runs, default)
    ruling = known.rulings.get((idea.id, key))
    against = known.ideas[ruling.against or idea.parent] if ruling else known.opponent(idea, key)
    pool = known.pool(against, key, idea)
    noise = noise_at(known, key, default, pool)
    if again and (ruling is None or ruling.verdict is not Verdict.KEEP):
        raise ValueError(f"only what was kept is tried again, and idea {idea.id} was not kept on {key.hardware_key}")
    if ruling and not again:
        return Judged(idea, key, _as_ruled(ruling), noise, runs, pool, against=against)
    if runs.failed:
        last = runs.failed[0]
        said = f"{len(runs.failed)} of {len(runs.failed) + len(runs.results)} runs came to no number ({last.status})"
        found = Decision(Verdict.DISCARD, said, num_runs=len(runs.results), num_pool=len(pool.results))
        return Judged(idea, key, found, noise, runs, pool, against=against)
    decision = rule_for(idea)(runs.values, pool.values, noise)
    if against.id != idea.parent:
        decision = replace(decision, reason=f"held against {against.id}, the best by now: {decision.reason}")
    if not pool.results and any(why in OTHERWISE for _, why in pool.left_out):
        said = "its parent's runs here have another shape or tuning, from before a calibration or promotion"
        decision = replace(decision, reason=f"{decision.reason}: {said}")
    elif not pool.results and (elsewhere := sorted({str(one) for one in known.keys(against)})):
        decision = replace(decision, reason=f"{decision.reason} here; it ran on {'; '.join(elsewhere)}")
    if said := steps.told(runs.results, pool.results):
        decision = replace(decision, reason=f"{decision.reason}; {said}")
    return Judged(idea, key, decision, noise, runs, pool, against=against, again=again)


def noise_at(known: Known, key: Key, default: PlatformDefault | None, pool: Evidence) -> Noise | None:
    """From the platform default, and from the shipped recipe's own runs of the pool's shape, else from the pool's. The
    pool's count as well where they differ more than that allows: a verdict by the smaller noise would not be believed.
    A default that says far more than the shipped recipe's runs show is left out.
    """
    found = [known.evidence(start, key) for start in _shipped_starts(known)]
    groups = [one.results for one in found if one.results and pool.shape in (None, one.shape)]
    groups = [group for group in groups if all(map(is_shipped, group))]
    floor = default.noise if default else None
    if floor and is_too_large(floor.sigma, floor.num_seeds, _values(groups)):
        default = None
    if not groups and pool.results and is_judged(known, pool.results[0].idea, key):
        groups = [pool.results]
    noise = _measured(default, key, pool, groups)
    if noise and pool.results not in groups and is_denied(noise.sigma, noise.num_seeds, pool.values):
        groups = [*groups, pool.results]
        noise = _measured(default, key, pool, groups)
    return noise and replace(noise, grows=pool.results in groups)


def _measured(
    default: PlatformDefault | None, key: Key, pool: Evidence, groups: Sequence[Sequence[RunResult]]
) -> Noise | None:
    return measured(default, key, pool.shape, _values(groups))


def _values(groups: Sequence[Sequence[RunResult]]) -> list[list[float]]:
    return [[result.val_bpb for result in group if result.val_bpb is not None] for group in groups]


def is_judged(known: Known, idea: str | None, key: Key) -> bool:
    """Whether the rule has kept it: then its runs differed as runs with different seeds do."""
    ruling = known.rulings.get((idea or "", key))
    return ruling is not None and ruling.verdict is Verdict.KEEP


def _as_ruled(ruling: Ruling) -> Decision:
    """What was decided stays, whatever was run since."""
    return Decision(
        ruling.verdict,
        f"decided on {ruling.made_at:%Y-%m-%d %H:%M}: {ruling.reason}",
        effect=ruling.effect,
        z=ruling.z,
        num_runs=len(ruling.runs),
        num_pool=len(ruling.pool),
        published=ruling.published,
    )


def _judge_start(known: Known, idea: Idea, key: Key, runs: Evidence, default: PlatformDefault | None) -> Judged:
    """There is nothing to compare it with; its runs are the pool of its children and measure the noise.

    First the few that ideas are tried by, then, for who asks again, as many as make sigma known.
    """
    noise, count = noise_at(known, key, default, runs), len(runs.values)
    said = f"it is a start, which others are compared with: {count} run{'' if count == 1 else 's'}"
    if runs.failed:
        said = f"it is a start, and a run of it came to no number ({runs.failed[0].status})"
    own = None if noise is None or noise.is_of_shorter else noise
    needs = max(0, ENOUGH_SEEDS - own.num_seeds) if own else max(0, FEWEST_SEEDS - count)
    if own and needs and not runs.failed:
        said += f"; sigma rests on {own.num_seeds} seeds, which is weak and enough to try ideas"
    elif noise and needs and not runs.failed:
        said += "; sigma is that of much shorter runs, which differ more: its own runs measure it"
    verdict = Verdict.DISCARD if runs.failed else Verdict.KEEP if count else Verdict.UNDECIDED
    decision = Decision(verdict, said, num_runs=count, idea_needs=0 if runs.failed else needs)
    return Judged(idea, key, decision, noise, runs, Evidence())


def _without_evidence(known: Known, idea: Idea) -> Judged:
    """Failures have no rung, so an idea that never came to a number has no key."""
    ended = [result for result in known.results.get(idea.id, ()) if why_not_run(idea, result) is None]
    failed = [result for result in ended if result.val_bpb is None]
    if failed:
        said = f"{len(failed)} of {len(failed)} runs came to no number ({failed[-1].status})"
        decision = Decision(Verdict.DISCARD, said)
        return Judged(idea, None, decision, None, Evidence(failed=tuple(failed)), Evidence())
    left_out = tuple((one.run_id, why) for one in known.results.get(idea.id, ()) if (why := why_not_run(idea, one)))
    unranked = {reason for one in known.results.get(idea.id, ()) for reason in one.unranked}
    reasons = [said_of(why, one) for one in known.results.get(idea.id, ()) if (why := why_not_run(idea, one))]
    told = f": {'; '.join(dict.fromkeys(reasons))}" if reasons else ""
    decision = Decision(Verdict.UNDECIDED, f"it has no run that counts{told}", idea_needs=1)
    advice = next((said for reason, said in ADVICE.items() if reason in unranked), "")
    return Judged(idea, None, decision, None, Evidence(left_out=left_out), Evidence(), advice)
