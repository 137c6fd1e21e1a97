"""What `decide` does: judges an idea, makes the runs it needs, and writes the verdict into the book."""

import json as json_module
import statistics
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from services.console.looking import resolves_said
from services.console.research import NothingMeasured, Place, tell, whoami
from shared.experiment.platform_default import all_defaults
from shared.experiment.presets import DEFAULT_BUDGET_S
from shared.research.book import Ruling, Trial, Undecided
from shared.research.comparable import Evidence, Key
from shared.research.doubt import doubt
from shared.research.idea import Idea
from shared.research.judge import Judged, judge
from shared.research.known import Known
from shared.research.made import made_since
from shared.research.rule import Verdict
from shared.research.steps import num_steps

MOST_ROUNDS = 24


def conclude(
    place: Place,
    name: str,
    hardware: str | None = None,
    *,
    wait: bool = False,
    timeout_s: float | None = None,
    again: bool = False,
) -> Judged:
    """Final verdicts are written down and stay; --wait makes runs as long as they can change the verdict.

    `again`: a keep is judged by what is known of the noise today. Until that is decided it stands.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    before, at_first = -1, place.known()
    for _ in range(MOST_ROUNDS):
        judged = look(place, name, hardware, again)
        needs = judged.decision.idea_needs or judged.decision.parent_needs
        is_measured = judged.idea.parent is None and judged.noise is not None and before >= 0
        if not wait or not needs or is_measured or judged.num_seen <= before:
            break  # runs that do not count, a demo corpus for example, would not count the next time either
        before = judged.num_seen
        left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            make_runs(place, place.known(), judged, left_s)
        except NothingMeasured as said:
            judged = replace(look(place, name, hardware, again), advice=str(said))
            break
    if judged.decision.verdict is not Verdict.UNDECIDED and judged.key is not None and judged.idea.parent is not None:
        write_down(place, judged, again)
    elif judged.key is not None and judged.idea.parent is not None and not again:
        write_undecided(place, judged)
    return _with_runs(at_first, place, judged) if before >= 0 else judged


def _with_runs(at_first: Known, place: Place, judged: Judged) -> Judged:
    """With what ended since: its own runs, and those of what it is held against."""
    return replace(judged, made=made_since(at_first, place.known(), judged.key, judged.idea, judged.against))


def look(place: Place, name: str, hardware: str | None, again: bool = False) -> Judged:
    known = place.known()
    idea = known.idea(name)
    key = choose_key(known, idea, hardware)
    default = place.default(key) if key else None
    judged = judge(known, idea, key, default, again=again, by_queue=place.is_fleet)
    doubted = None if again or key is None else doubt(known, known.rulings.get((idea.id, key)), default)
    return replace(judged, advice=doubted.said) if doubted else judged


def choose_key(known: Known, idea: Idea, hardware: str | None) -> Key | None:
    """The latest for which the idea has evidence. ValueError when it was run only on other hardware."""
    found = known.keys(idea)
    if hardware is None:
        return found[0] if found else None
    there = [key for key in found if key.hardware_key == hardware]
    if not there and found:
        ran = ", ".join(sorted({key.hardware_key for key in found}))
        raise ValueError(f"idea {idea.id} has no run that counts on {hardware}, only on {ran}: submit it there first")
    return there[0] if there else None


def make_runs(place: Place, known: Known, judged: Judged, timeout_s: float | None) -> None:
    """The parent's first: they serve other ideas too."""
    trial, key = trial_of(known, judged.idea, judged.runs), judged.key
    if judged.decision.parent_needs:
        assert judged.against is not None
        run_more(place, known, judged.against, trial, key, judged.pool, judged.decision.parent_needs, timeout_s)
    else:
        run_more(place, known, judged.idea, trial, key, judged.runs, judged.decision.idea_needs, timeout_s)


def trial_of(known: Known, idea: Idea, runs: Evidence) -> Trial:
    """What the counted runs of the idea asked for, else what was asked last with their budget, else last of all; of it,
    what runs that are compared may ask for."""
    trials = known.trials.get(idea.id, ())
    if not trials:
        raise ValueError(f"nobody has sent idea {idea.id} to a machine: submit or train it with its --note first")
    named = [one for one in trials for run in runs.results if run.run_id.startswith(one.job_id(0)[:-1])]
    seconds = {result.budget.seconds for result in runs.results}
    as_long = [one for one in trials if float(one.asked.get("time_budget") or DEFAULT_BUDGET_S) in seconds]
    return (named or as_long or list(trials))[-1].standard


def run_more(
    place: Place,
    known: Known,
    idea: Idea,
    trial: Trial,
    key: Key | None,
    so_far: Evidence,
    count: int,
    timeout_s: float | None,
) -> None:
    """`key`: for which they shall count, so its rung is asked for by name; None: for whichever comes of it."""
    rung = {"rung": key.rung.value} if key else {}
    mine = trial.model_copy(update={"idea": idea.id, "asked": {**trial.asked, **rung}})
    if mine not in known.trials.get(idea.id, ()):
        place.append(mine)
    indices = range(so_far.next_index, so_far.next_index + count)
    seeds = ", ".join(str(idea.seed(index)) for index in indices)
    made = f"run of {idea.id} with seed" if count == 1 else f"runs of {idea.id} with seeds"
    tell(f"{count} {made} {seeds} on {trial.target} ({idea.note or idea.kind})")
    place.run(idea, mine, indices, timeout_s, key.hardware_key if key else None)


def write_down(place: Place, judged: Judged, again: bool = False) -> None:
    if not again and (judged.idea.id, judged.key) in place.known().rulings:
        return
    place.append(ruling_of(judged, pruned=again and judged.decision.verdict is Verdict.DISCARD))


def write_undecided(place: Place, judged: Judged) -> None:
    """Once for each reason: whoever lists ideas sees which ones somebody had judged."""
    assert judged.key is not None
    idea, reason = judged.idea.id, judged.decision.reason
    said = Undecided(idea=idea, key=judged.key, reason=reason, by=whoami(), made_at=datetime.now(UTC))
    before = place.known().undecided.get((said.idea, said.key))
    if before is None or before.reason != said.reason:
        place.append(said)


def ruling_of(judged: Judged, *, pruned: bool = False) -> Ruling:
    decision, noise, key = judged.decision, judged.noise, judged.key
    assert key is not None
    return Ruling(
        idea=judged.idea.id,
        key=key,
        verdict=decision.verdict,
        against=judged.against.id if judged.against else None,
        reason=decision.reason,
        effect=decision.effect,
        z=decision.z,
        sigma=noise.sigma if noise else None,
        sigma_seeds=noise.num_seeds if noise else None,
        noise_source=noise.source if noise else "",
        runs=tuple(result.run_id for result in judged.runs.results[: decision.num_runs]),
        pool=tuple(result.run_id for result in judged.pool.results),
        published=decision.published,
        pruned=pruned,
        by=whoami(),
        made_at=datetime.now(UTC),
    )


def as_json(judged: Judged) -> dict[str, Any]:
    noise, idea = judged.noise, judged.idea
    return {
        "idea": idea.id,
        "parent": idea.parent,
        "against": judged.against.id if judged.against else None,
        "note": idea.note,
        "key": judged.key and judged.key.model_dump(mode="json"),
        **{name: value for name, value in asdict(judged.decision).items() if name != "resolvable"},
        "num_steps": num_steps(judged.runs.results),
        "parent_num_steps": num_steps(judged.pool.results),
        "runs": [_run_row(result) for result in (*judged.runs.results, *judged.runs.failed)],
        "pool": [_run_row(result) for result in judged.pool.results],
        "left_out": judged.left_out,
        "made": [one.as_json() for one in judged.made],
        "noise": noise and asdict(noise),
        "resolves": judged.resolves,
        "advice": advice(judged),
    }


def _run_row(result: Any) -> dict[str, Any]:
    return {name: getattr(result, name) for name in ("run_id", "seed", "status", "val_bpb", "num_steps")}


def advice(judged: Judged) -> str:
    decision, noise = judged.decision, judged.noise
    if judged.advice:
        return judged.advice
    if needs := decision.idea_needs + decision.parent_needs:
        whose = "its parent" if decision.parent_needs else "it"
        command = f"autoresearch decide {judged.idea.id}{' --again' * judged.again} --wait"
        anyhow = "; ideas need not wait for them" if judged.idea.parent is None and judged.noise else ""
        return f"`{command}` makes {needs} more run{'s' * (needs > 1)} of {whose}{anyhow}"
    effect = decision.effect or 0.0
    if noise and decision.verdict is Verdict.DISCARD and 0 < effect < (decision.resolvable or 0.0):
        others = [one for one in all_defaults() if judged.key and one.hardware_key != judged.key.hardware_key]
        quieter = [one for one in others if one.noise and one.noise.sigma < noise.sigma / 2]
        where = ", ".join(sorted({one.target for one in quieter})) or "a target with less noise, if there is one"
        return f"send it to a quieter machine to know more: {where}"
    return ""


def _effect_said(judged: Judged) -> str:
    decision, pool = judged.decision, judged.pool.values
    runs = f"{decision.num_runs} run{'' if decision.num_runs == 1 else 's'} against {decision.num_pool}"
    mean = f", whose mean is {statistics.fmean(pool):.6f}" if pool and len(pool) == decision.num_pool else ""
    return f"{decision.effect:+.6f}, where more is better: {runs}{mean}"


def show(judged: Judged, json: bool) -> None:
    if json:
        print(json_module.dumps(as_json(judged)))
        return
    idea, decision = judged.idea, judged.decision
    print(f"{decision.verdict}  {idea.id}  {idea.note}")
    print(f"because  {decision.reason}")
    if judged.key:
        print(f"where    {judged.key}")
    if decision.effect is not None:
        print(f"effect   {_effect_said(judged)}")
    if mine := num_steps(judged.runs.results):
        before = num_steps(judged.pool.results)
        print(f"steps    {mine:g} a run{f', {before:g} of its parent' if before else ''} (medians, as recipes report)")
    if judged.noise:
        print(f"noise    sigma {judged.noise.sigma:.6f} ({judged.noise.source})")
        print(f"resolves {resolves_said(judged.resolves)}")
    if decision.published is not None:
        print(f"val_bpb  {decision.published:.6f}, of the fresh run")
    for one in judged.made:
        print(f"made     {one.said}")
    for name, why in judged.left_out.items():
        if name not in {one.result.run_id for one in judged.made}:
            print(f"left out {name}: {why}")
    if said := advice(judged):
        print(f"next     {said}")
