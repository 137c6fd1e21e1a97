"""What `prune` does: an ablation for every kept idea in the lineage of the best one, judged one after the other."""

from dataclasses import dataclass, replace

from services.console import briefing, looking, verdicts
from services.console.proposals import register
from services.console.research import Place
from shared.experiment.identity import idea_id
from shared.experiment.settings import normal
from shared.files import sha256_bytes
from shared.research import ablation
from shared.research.comparable import Key
from shared.research.idea import Idea
from shared.research.judge import Judged, noise_at
from shared.research.known import Known
from shared.research.rule import Decision, Verdict

SAID = {Verdict.KEEP: "dropped", Verdict.DISCARD: "stays", Verdict.UNDECIDED: "undecided"}


@dataclass(frozen=True)
class Pruned:
    without: str
    """the kept idea that is taken out"""
    note: str
    state: str
    """would test, cannot, stays, dropped, undecided"""
    reason: str
    idea: str | None = None
    """the ablation, which is an idea itself"""


def prune(place: Place, hardware: str | None, *, wait: bool) -> list[Pruned]:
    """Once one was dropped there is another best recipe, of which the others have to be missed: the rest waits."""
    known = place.known()
    key = looking.key_at(known, hardware)
    best = known.best(key) if key else None
    if key is None or best is None:
        raise ValueError(briefing.nothing_counts(known))
    done: list[Pruned] = []
    for one in known.lineage(best[0]):
        if one.kind == "change":
            done.append(_test(place, known, key, best[0], one, wait))
        if done and done[-1].state == "dropped":
            break
    return done


def _test(place: Place, known: Known, key: Key, best: Idea, one: Idea, wait: bool) -> Pruned:
    sources = {each.recipe_sha: place.recipe(each) for each in (best, one, known.ideas[str(one.parent)])}
    source, settings = ablation.taken_out(best, one, known.ideas[str(one.parent)], sources.__getitem__)
    if source is None:
        return Pruned(one.id, one.note, "cannot", "later ideas change the same lines")
    named = idea_id(sha256_bytes(source), *normal(best.preset, settings))
    earlier = known.ideas.get(named)
    if earlier is None and not wait:
        return Pruned(one.id, one.note, "would test", f"against {best.id}, in up to four runs: add --wait")
    if earlier is not None and earlier.kind != "ablation":
        found = _against_known(place, key, best, earlier, wait)
        return Pruned(one.id, one.note, SAID[found.verdict], found.reason, earlier.id)
    if earlier is None:
        earlier = _propose(place, known, key, best, one, source, settings)
    judged = verdicts.conclude(place, earlier.id, wait=wait)
    return Pruned(one.id, one.note, SAID[judged.decision.verdict], judged.decision.reason, earlier.id)


def _against_known(place: Place, key: Key, best: Idea, before: Idea, wait: bool) -> Decision:
    """The best without its last idea is the one before it: that has runs already. If it is as good, it is the best."""
    for _ in range(verdicts.MOST_ROUNDS):
        known = place.known()
        runs, pool = known.evidence(before, key), known.pool(best, key)
        noise = noise_at(known, key, place.default(key), pool)
        found = ablation.decide(runs.values, pool.values, noise)
        if not wait or not (found.idea_needs or found.parent_needs):
            break
        trial = verdicts.trial_of(known, best, pool)
        more = (best, trial, key, pool, 1) if found.parent_needs else (before, trial, key, runs, 1)
        verdicts.run_more(place, known, *more, None)
    if found.verdict is Verdict.KEEP:
        dropped = replace(
            found, verdict=Verdict.DISCARD, reason=f"{before.id} is as good: {found.reason}", published=None
        )
        ruling = verdicts.ruling_of(Judged(best, key, dropped, noise, pool, runs, against=before))
        place.append(ruling.model_copy(update={"pruned": True}))
    return found


def _propose(
    place: Place, known: Known, key: Key, best: Idea, one: Idea, source: bytes, settings: dict[str, str]
) -> Idea:
    trial = verdicts.trial_of(known, best, known.pool(best, key))  # only runs of the same terms compare
    idea, _ = register(
        place,
        source,
        engine=key.engine,
        target=trial.target,
        asked={**trial.asked, "time_budget": key.budget_seconds},
        note=f"without '{one.note}'",
        parent=best.id,
        preset=best.preset,
        settings=settings,
        without=one.id,
        exactly=True,
    )
    return idea
