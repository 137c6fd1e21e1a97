"""One more confirming run where the others changed what is expected: of the shape that hindsight puts ahead."""

from dataclasses import replace

from services.calibrator.confirm import FIRST_SEED, SHORTEST_S, Confirmation, choose, compared, overhead_s
from services.calibrator.envelope_model import Envelope
from services.calibrator.findings import Findings, own_table
from services.calibrator.hindsight import Hindsight, Rival
from services.calibrator.measurement import Probe
from services.calibrator.noise import SEEDS
from services.calibrator.ranking import Ranked
from services.calibrator.work import Work


def reconsidered(work: Work, found: Findings, confirmation: Confirmation) -> Confirmation:
    """`found`: of the phases before. The confirmation as it is where hindsight prefers nothing, or there is no time."""
    assert found.search
    assert found.prior
    assert found.envelope
    chosen = confirmation.chosen
    rival = Hindsight(work, replace(found, confirm=confirmation)).rival
    if chosen is None or rival is None or not confirmation.runs:
        return confirmation
    cost_s = confirmation.seconds + overhead_s(found.outcomes(), {rival.preset})
    if cost_s > work.clock.remaining_s - _kept_s(work, found, chosen):
        return confirmation
    work.say(f"{rival.preset} is now expected to be {rival.ahead:.4f} better: it is confirmed too")
    probe = Probe(
        preset=rival.preset, shape=rival.shape, seconds=confirmation.seconds, seed=FIRST_SEED, rung=found.prior.rung,
        tuning=found.tuning,
    )  # fmt: skip
    table = own_table(work.table, found)
    runs = (*confirmation.runs, compared(table, work.measure(probe, limit_s=3.0 * cost_s)))
    best, reason = choose(work, [chosen, _ranked(rival, found.envelope.envelope)], runs, found.search, table)
    return confirmation.model_copy(update={"runs": runs, "chosen": best, "reason": reason})


def _kept_s(work: Work, found: Findings, chosen: Ranked) -> float:
    """For the shortest noise runs and some scoring: a default without its noise is worth less than a surer one."""
    return 1.5 * SEEDS[work.calibration.mode] * (SHORTEST_S + overhead_s(found.outcomes(), {chosen.preset}))


def _ranked(rival: Rival, envelope: Envelope) -> Ranked:
    return Ranked(
        preset=rival.preset, shape=rival.shape, val_bpb=rival.val_bpb, spread=rival.spread, source="table",
        tok_per_sec=rival.tok_per_sec, memory_mb=envelope.memory_of(rival.shape), band=envelope.band(rival.shape),
    )  # fmt: skip
