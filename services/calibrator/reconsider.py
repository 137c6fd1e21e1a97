"""Where the confirming runs changed what is expected: one more, of the shape that hindsight puts ahead.

Without time for that it is, of the shapes that the search trained, the one that is then expected to be best.
When all has run, a shape whose own run was shorter is preferred where the table expects it to be better.
"""

from collections.abc import Iterable
from dataclasses import replace

from services.calibrator.confirm import (
    FIRST_SEED,
    SHORTEST_S,
    Confirmation,
    ConfirmedRun,
    choose,
    compared,
    overhead_s,
    told,
)
from services.calibrator.envelope_model import Envelope
from services.calibrator.findings import SLOWER, Findings, Preferred, chosen_shape, kept_speed, own_table
from services.calibrator.hindsight import Hindsight, Rival
from services.calibrator.measurement import Outcome, Probe, counting
from services.calibrator.noise import SEEDS
from services.calibrator.projection import is_row
from services.calibrator.ranking import Ranked
from services.calibrator.work import Work, describe_shape


def reconsidered(work: Work, found: Findings, confirmation: Confirmation) -> Confirmation:
    """`found`: of the phases before. The confirmation as it is where hindsight prefers nothing, or there is no time."""
    assert found.search
    assert found.prior
    assert found.envelope
    chosen = confirmation.chosen
    hindsight = Hindsight(work, replace(found, confirm=confirmation))
    rival = hindsight.rival
    if chosen is None or rival is None or not confirmation.runs:
        return confirmation
    cost_s = confirmation.seconds + overhead_s(found.outcomes(), {rival.preset})
    if cost_s > work.clock.remaining_s - _kept_s(work, found, chosen):
        return _by_the_search(found, confirmation, hindsight)
    work.say(f"{rival.preset} is now expected to be {rival.ahead:.4f} better: it is confirmed too")
    probe = Probe(
        preset=rival.preset, shape=rival.shape, seconds=confirmation.seconds, seed=FIRST_SEED, rung=found.prior.rung,
        tuning=found.tuning,
    )  # fmt: skip
    table = own_table(work.table, found)
    runs = (*confirmation.runs, compared(table, work.measure(probe, limit_s=3.0 * cost_s)))
    best, reason = choose(work, [chosen, _ranked(rival, found.envelope.envelope)], runs, found.search, table)
    return confirmation.model_copy(update={"runs": runs, "chosen": best, "reason": reason})


def _by_the_search(found: Findings, confirmation: Confirmation, hindsight: Hindsight) -> Confirmation:
    """The noise runs then train what is expected to be best of all that ran, not what is expected to be worse."""
    assert found.search
    assert found.envelope
    ahead = _furthest_ahead(hindsight, filter(is_row, found.search.outcomes))
    if ahead is None:
        return confirmation
    best, longest = ahead
    run = ConfirmedRun(outcome=longest, said=None, said_spread=0.0)
    reason = (
        f"by its run of {longest.probe.seconds:g} s in the search and the confirming runs it is expected to be "
        f"{best.ahead:.4f} bpb better than the search's first"
    )
    update = {"runs": (*confirmation.runs, run), "chosen": _ranked(best, found.envelope.envelope), "reason": reason}
    return confirmation.model_copy(update=update)


def preferred(work: Work, found: Findings) -> Preferred | None:
    """`found`: of all phases. The shape that is expected to be furthest ahead of the chosen one, of those that ran and
    were scored as the chosen one was: a few seconds on the smoke rung, for speed, say nothing of quality. None where
    these are all its equals or worse, or where the machine became slower: the chosen shape alone would bear that."""
    chosen = chosen_shape(found)
    if chosen is None or found.envelope is None or kept_speed(found) < SLOWER:
        return None
    hindsight = Hindsight(work, found)
    ran = [one for one in filter(is_row, hindsight.outcomes) if found.prior and one.probe.rung is found.prior.rung]
    ahead = _furthest_ahead(hindsight, counting(ran))
    if ahead is None:
        return None
    best, longest = ahead
    was_confirmed = found.confirm and any(told(run.outcome) for run in found.confirm.runs)
    confirmed = "the confirmed" if was_confirmed else "the search's first"
    reason = (
        f"predicted from its run of {longest.probe.seconds:g} s; {confirmed} {chosen.preset} "
        f"{describe_shape(chosen.shape)} is expected to be {best.ahead:.4f} worse (95 % interval {best.low:.4f} to "
        f"{best.high:.4f}): calibrate with more minutes to confirm it"
    )
    return Preferred(_ranked(best, found.envelope.envelope), reason)


def _furthest_ahead(hindsight: Hindsight, outcomes: Iterable[Outcome]) -> tuple[Rival, Outcome] | None:
    """Of these runs' shapes the one that is expected to be furthest ahead of the chosen one, and its longest run; None
    where all are its equals or worse."""
    longest = {one.probe.shape: one for one in sorted(outcomes, key=lambda one: one.probe.seconds)}
    rivals = [hindsight.beside_chosen(one) for one in hindsight.offers() if one.shape in longest]
    best = max(filter(None, rivals), key=lambda one: one.ahead, default=None)
    return (best, longest[best.shape]) if best else None


def _kept_s(work: Work, found: Findings, chosen: Ranked) -> float:
    """For the shortest noise runs and some scoring: a default without its noise is worth less than a surer one."""
    return 1.5 * SEEDS[work.calibration.mode] * (SHORTEST_S + overhead_s(found.outcomes(), {chosen.preset}))


def _ranked(rival: Rival, envelope: Envelope) -> Ranked:
    return Ranked(
        preset=rival.preset, shape=rival.shape, val_bpb=rival.val_bpb, spread=rival.spread, source="table",
        tok_per_sec=rival.tok_per_sec, memory_mb=envelope.memory_of(rival.shape), band=envelope.band(rival.shape),
    )  # fmt: skip
