"""Everything that is known of ideas at one moment: the book, read into tables, and the results of their runs."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from shared.contracts import RunResult, Status, TrainingRecord, one_line
from shared.experiment.identity import idea_id
from shared.experiment.settings import may_differ, resolved
from shared.fleet import keys
from shared.fleet.contracts import Outcome
from shared.fleet.store import FleetStore
from shared.research import ablation
from shared.research.book import Entry, Proposal, Ruling, Trial, Undecided
from shared.research.comparable import MOST_INDICES, Evidence, Key, evidence, keys_of, most_jobs
from shared.research.idea import Idea
from shared.research.noise import Noise, is_denied
from shared.research.rule import KEEP_Z, Decision, Verdict, bound, decide
from shared.runs.listing import ListedRun, list_runs


@dataclass(frozen=True)
class Known:
    ideas: Mapping[str, Idea]
    """by id, in the order in which they were proposed"""
    trials: Mapping[str, Sequence[Trial]]
    """by idea"""
    rulings: Mapping[tuple[str, Key], Ruling]
    results: Mapping[str, Sequence[RunResult]]
    """by idea: of every run that ended"""
    log: Sequence[Ruling] = field(default=())
    """the rulings that count, as they were made"""
    unproved: Sequence[Ruling] = field(default=())
    """rulings that the runs they name do not bear out: they count for nothing"""
    undecided: Mapping[tuple[str, Key], Undecided] = field(default_factory=dict)
    """what was said last of an idea that somebody had judged in vain; a ruling comes before it"""

    def idea(self, name: str) -> Idea:
        """By id or the beginning of one. ValueError when there is none or more than one."""
        found = [idea for idea in self.ideas.values() if idea.id == name] or [
            idea for idea in self.ideas.values() if len(name) > 2 and idea.id.startswith(name)
        ]
        if len(found) != 1:
            what = "no idea" if not found else "more than one idea"
            raise ValueError(f"{what} is called '{name}' here: `autoresearch history` lists all")
        return found[0]

    def evidence(self, idea: Idea, key: Key) -> Evidence:
        """All counted runs have one shape and tuning, those of the first."""
        return self._evidence(idea, key, is_pool=False)

    def pool(self, idea: Idea, key: Key, of: Idea | None = None) -> Evidence:
        """The runs of it that others are compared with.

        `of`: who is. Where nothing else was asked for, a machine that was calibrated in between gives its runs another
        shape or tuning: only those runs compare that have what its first one has.
        """
        mine = self.evidence(of, key).first if of and of.preset == idea.preset else None
        chosen = may_differ({*idea.set, *of.set}) if of else ()
        return self._evidence(idea, key, mine, chosen, is_pool=True)

    def _evidence(
        self, idea: Idea, key: Key, like: RunResult | None = None, chosen: Collection[str] = (), *, is_pool: bool
    ) -> Evidence:
        results = self.results.get(idea.id, ())
        first = evidence(idea, key, results, like, chosen, is_pool=is_pool).first
        if first is None:
            return evidence(idea, key, results, like, chosen, is_pool=is_pool)
        return evidence(idea, key, results, first, is_pool=is_pool)

    def keys(self, idea: Idea) -> list[Key]:
        """For which it has evidence, the latest first."""
        return keys_of(idea, self.results.get(idea.id, ()))

    def all_keys(self) -> list[Key]:
        return [*dict.fromkeys(key for idea in reversed([*self.ideas.values()]) for key in self.keys(idea))]

    def score(self, idea: Idea, key: Key) -> float | None:
        """What counts as its val_bpb: of a kept idea the fresh run alone, of a start the mean; None: it has none.

        An ablation keeps its parent's: it was not chosen for being lower.
        """
        if idea.parent is None:
            values = self.evidence(idea, key).values
            return sum(values) / len(values) if values else None
        ruling = self.rulings.get((idea.id, key))
        if ruling is None or ruling.verdict is not Verdict.KEEP:
            return None
        return self.score(self.ideas[idea.parent], key) if idea.kind == "ablation" else ruling.published

    def line(self, key: Key) -> list[Idea]:
        """What was the best at some time, in order: the first start, and each idea that was kept against the best.

        An idea that was kept against anything else is better than that, and nobody knows whether than the best.
        """
        starts = (idea for idea in self.ideas.values() if idea.parent is None and self.evidence(idea, key).values)
        line = [first] if (first := next(starts, None)) else []
        for ruling in self.log:
            if ruling.key == key and line:
                idea = self.ideas[ruling.idea]
                if ruling.pruned and idea == line[-1] and len(line) > 1:
                    line.pop()
                elif ruling.verdict is Verdict.KEEP and (ruling.against or idea.parent) == line[-1].id:
                    line.append(idea)
        return line

    def best(self, key: Key) -> tuple[Idea, float] | None:
        """The last of the line, and its score."""
        line = self.line(key)
        score = self.score(line[-1], key) if line else None
        return (line[-1], score) if score is not None else None

    def opponent(self, idea: Idea, key: Key) -> Idea:
        """Whom an idea is held against: its parent, or the best where that has moved on since it was proposed."""
        line = self.line(key)
        moved_on = idea.kind != "ablation" and any(one.id == idea.parent for one in line)
        return line[-1] if moved_on and line[-1] != idea else self.ideas[str(idea.parent)]

    def lineage(self, idea: Idea) -> list[Idea]:
        """From its start to itself."""
        line = [idea]
        while (parent := line[0].parent) in self.ideas and self.ideas[str(parent)] not in line:
            line.insert(0, self.ideas[str(parent)])
        return line

    def twin(self, idea: Idea) -> Idea | None:
        """Another idea that differs from this one in comments, layout and the way its settings are written alone."""
        same, asked = idea.meaning_sha, resolved(idea.preset, idea.set)
        others = (one for one in self.ideas.values() if one.id != idea.id and one.meaning_sha == same)
        return next((one for one in others if resolved(one.preset, one.set) == asked), None)


def no_recipe(recipe_sha: str) -> bytes:
    raise ValueError(f"there is no recipe {recipe_sha[:12]} here")


def read_known(
    entries: Iterable[Entry],
    results: Mapping[str, Sequence[RunResult]],
    recipe: ablation.Recipes = no_recipe,
    *,
    believe_missing: bool,
) -> Known:
    """`believe_missing`: also rulings whose runs are gone, as on a disk that is cleared now and then.

    `recipe`: of the book. An ablation that does not follow from recipes that are there is judged as any change is.
    """
    ideas: dict[str, Idea] = {}
    trials: dict[str, list[Trial]] = defaultdict(list)
    rulings: list[Ruling] = []
    undecided: dict[tuple[str, Key], Undecided] = {}
    for entry in entries:
        if isinstance(entry, Proposal):
            if entry.idea.id not in ideas and _is_sound(entry.idea, ideas):
                ideas[entry.idea.id] = _as_it_is(entry.idea, ideas, recipe)
        elif isinstance(entry, Ruling):
            rulings.append(entry)
        elif isinstance(entry, Undecided):
            undecided[entry.idea, entry.key] = entry
        elif entry not in trials[entry.idea]:
            trials[entry.idea].append(entry)
    return _with_rulings(Known(ideas, trials, {}, results, undecided=undecided), rulings, believe_missing)


def _is_sound(idea: Idea, before: Mapping[str, Idea]) -> bool:
    """Anybody may append: the name has to follow from the content, and a parent stands before its children."""
    named = idea.id == idea_id(idea.recipe_sha, idea.preset, idea.set)
    return named and (idea.kind == "start") == (idea.parent is None) and idea.parent in (None, *before)


def _as_it_is(idea: Idea, before: Mapping[str, Idea], recipe: ablation.Recipes) -> Idea:
    if idea.kind != "ablation" or ablation.is_one(idea, before, recipe):
        return idea
    return idea.model_copy(update={"kind": "change", "without": None})


def _with_rulings(known: Known, rulings: Iterable[Ruling], believe_missing: bool) -> Known:
    proved: dict[tuple[str, Key], Ruling] = {}
    log, unproved = [], []
    for ruling in rulings:
        named = (ruling.idea, ruling.key)
        if not is_borne_out(known, ruling, believe_missing=believe_missing):
            unproved.append(ruling)
        elif named not in proved or ruling.pruned or _confirms(proved[named], ruling):
            proved[named] = ruling
            log.append(ruling)
    return replace(known, rulings=proved, log=log, unproved=unproved)


def _confirms(before: Ruling, ruling: Ruling) -> bool:
    """A keep that was tried again by a larger noise. By a smaller one, somebody could choose which run is published."""
    keeps = before.verdict is Verdict.KEEP and ruling.verdict is Verdict.KEEP
    return keeps and _demanded(ruling) > _demanded(before)


def _demanded(ruling: Ruling) -> float:
    """How far below its parent one run has to be, but for a factor."""
    noise = Noise(ruling.sigma or 0.0, ruling.sigma_seeds or 2, "")
    return noise.sigma * bound(noise, KEEP_Z)


def held(known: Known, ruling: Ruling) -> tuple[list[float], list[float]] | None:
    """val_bpb of the runs that it names, and of the pool's; None where one is missing."""
    sides = _sides(known, ruling)
    return None if sides is None else _named(sides)


Side = tuple[dict[str, float], tuple[str, ...]]
"""val_bpb of all runs by name, in the order of their seeds; which of them a ruling names"""


def _sides(known: Known, ruling: Ruling) -> list[Side] | None:
    """Of the idea, and of what it was held against; None where that is unknown or a run that is named is missing."""
    idea = known.ideas[ruling.idea]
    against = known.ideas.get(ruling.against or idea.parent or "")
    if against is None:
        return None
    found = ((known.evidence(idea, ruling.key), ruling.runs), (known.pool(against, ruling.key, idea), ruling.pool))
    sides = [(_scores(evidence), names) for evidence, names in found]
    return sides if all(set(names) <= set(have) for have, names in sides) else None


def _named(sides: list[Side]) -> tuple[list[float], list[float]]:
    runs, pool = ([value for name, value in have.items() if name in names] for have, names in sides)
    return runs, pool


def _scores(found: Evidence) -> dict[str, float]:
    return {one.run_id: one.val_bpb for one in found.results if one.val_bpb is not None}


def _leaves_out(have: Mapping[str, float], named: Sequence[str]) -> bool:
    """Whether a run that is not named has a seed before one that is: seeds are run in their order, so whoever decided
    had seen it, and chose."""
    places = [place for place, name in enumerate(have) if name in named]
    return places != [*range(len(places))]


def is_borne_out(known: Known, ruling: Ruling, *, believe_missing: bool) -> bool:
    """Whether the runs that a keep names are evidence and the first ones, and the rule keeps it by them and by a noise
    that its pool does not deny. Nobody gains by a discard."""
    idea = known.ideas.get(ruling.idea)
    against = known.ideas.get(ruling.against or (idea and idea.parent) or "")
    if idea is None:
        return False
    if ruling.verdict is not Verdict.KEEP:
        return True
    if against is None or idea.parent is None or ruling.sigma is None or ruling.sigma_seeds is None:
        return False
    sides = _sides(known, ruling)
    if sides is None:
        return believe_missing
    runs, pool = _named(sides)
    if any(_leaves_out(*side) for side in sides) or is_denied(ruling.sigma, ruling.sigma_seeds, pool):
        return False
    found = rule_for(idea)(runs, pool, Noise(ruling.sigma, ruling.sigma_seeds, ""))
    return found.verdict is Verdict.KEEP and found.published == ruling.published


def rule_for(idea: Idea) -> Callable[[Sequence[float], Sequence[float], Noise | None], Decision]:
    return ablation.decide if idea.kind == "ablation" else decide


def results_on_disk() -> dict[str, list[RunResult]]:
    """By idea, oldest first. A run that was interrupted or killed is one that was cancelled, until it is resumed."""
    found: dict[str, list[RunResult]] = defaultdict(list)
    for run in reversed(list_runs()):
        result = run.result or _cut_short(run)
        if result is not None and result.idea is not None:
            found[result.idea].append(result)
    return found


def _cut_short(run: ListedRun) -> RunResult | None:
    """Whoever interrupts a run has seen its loss: it is one of the tries that a seed has."""
    if run.job is None or run.state != "interrupted":
        return None
    from shared.experiment.run import gather  # numpy and psutil, which most who ask about ideas have no use for

    reason = one_line(f"{run.summary}: `autoresearch train --resume {run.path}` goes on")
    return gather(run.job, TrainingRecord(status=Status.CANCELLED, reason=reason), None, 0.0)


def results_of_jobs(store: FleetStore, entries: Iterable[Entry]) -> dict[str, list[RunResult]]:
    """By idea, in the order in which they ended, of the jobs that follow from its trials; what was enqueued under other
    names is none of its runs. By the order of the trials, somebody could run what counts first last.
    """
    entries = list(entries)
    ideas = {entry.idea.id: entry.idea for entry in entries if isinstance(entry, Proposal)}
    every = (
        (trial.idea, trial.job_id(index, again))
        for trial in entries
        if isinstance(trial, Trial) and trial.idea in ideas
        for index in range(MOST_INDICES)
        for again in range(most_jobs(ideas[trial.idea]))
    )
    jobs = list(dict.fromkeys(every))  # a trial may be in the book more than once: two sweeps with one base, say
    pipeline = store.connection.pipeline(transaction=False)
    for _, job_id in jobs:
        pipeline.hget(keys.job(job_id), "outcome").zscore(keys.INDEX, job_id)
    said = pipeline.execute()
    ended = [(at or 0.0, idea, content) for (idea, _), content, at in zip(jobs, said[::2], said[1::2], strict=True)]
    found: dict[str, list[RunResult]] = defaultdict(list)
    for _, idea, content in sorted(ended, key=lambda one: one[0]):
        outcome = Outcome.model_validate_json(content) if content else None
        if outcome is not None and outcome.result is not None:
            found[idea].append(outcome.result)
    return found
