"""What the phases found, in order; and the shape that is chosen by it."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from services.calibrator.confirm import Confirmation
from services.calibrator.envelope import EnvelopeFound
from services.calibrator.envelope_model import Band, Envelope
from services.calibrator.extend import Extended
from services.calibrator.fingerprint import Fingerprint
from services.calibrator.measurement import Outcome, counting
from services.calibrator.noise import Noise
from services.calibrator.pairing import Paired
from services.calibrator.prior import Expected, Prior
from services.calibrator.projection import FEWEST_PROBE_STEPS, row_of
from services.calibrator.ranking import Ranked
from services.calibrator.rungs import KeptCheckpoint, RungCosts
from services.calibrator.search import SearchResult
from services.calibrator.tune import Tuned
from shared.contracts import Shape
from shared.experiment.platform_default import Tuning
from shared.quality import QualityTable

SLOWER = 0.85
"""of the speed of before: less is more than runs of one shape differ by"""


@dataclass(frozen=True)
class Preferred:
    """A shape that ran here too briefly to be confirmed and is expected to be better than the confirmed one."""

    chosen: Ranked
    reason: str


@dataclass
class Findings:
    """Filled phase by phase; None until then."""

    fingerprint: Fingerprint | None = None
    tune: Tuned | None = None
    envelope: EnvelopeFound | None = None
    prior: Prior | None = None
    search: SearchResult | None = None
    confirm: Confirmation | None = None
    checkpoint: KeptCheckpoint | None = None
    rungs: RungCosts | None = None
    noise: Noise | None = None
    pairing: Paired | None = None
    extend: Extended | None = None
    preferred: Preferred | None = None
    """instead of the confirmed shape, when all phases have ended"""

    def outcomes(self, *, tuned: bool = False) -> list[Outcome]:
        """Of all phases so far, each once; or only those with the tuning that was chosen, which tell its speed."""
        each = {outcome.probe.key: outcome for group in self._by_phase().values() for outcome in group}.values()
        return [one for one in each if not tuned or one.probe.tuning == self.tuning]

    def failures(self) -> list[tuple[str, Outcome]]:
        """Every probe that came to no number, once, with the phase that tried it first."""
        found: dict[str, tuple[str, Outcome]] = {}
        for phase, group in self._by_phase().items():
            for one in group:
                found.setdefault(one.probe.key, (phase, one))
        return [(phase, one) for phase, one in found.values() if not one.is_ok]

    def _by_phase(self) -> dict[str, Sequence[Outcome]]:
        return {
            "tune": self.tune.tried if self.tune else (),
            "envelope": self.envelope.outcomes if self.envelope else (),
            "search": self.search.outcomes if self.search else (),
            "confirm": self.confirm.outcomes if self.confirm else (),
            "noise": self.noise.outcomes if self.noise else (),
            "pairing": self.pairing.outcomes if self.pairing else (),
            "extend": self.extend.outcomes if self.extend else (),
        }

    @property
    def tuning(self) -> Tuning:
        return self.tune.tuning if self.tune else Tuning()

    def good_runs(self, shape: Shape) -> list[Outcome]:
        """Of that shape, with the tuning that was chosen, that came to a number."""
        return counting(one for one in self.outcomes(tuned=True) if one.is_ok and one.probe.shape == shape)

    def latest_noise(self) -> Noise | None:
        """With the seeds that the last minutes were spent on."""
        return (self.extend and self.extend.noise) or self.noise


def own_table(table: QualityTable, found: Findings) -> QualityTable:
    """With what this calibration measured so far, on the rung that probes are scored on."""
    rung = found.prior.rung if found.prior else None
    outcomes = [one for one in found.outcomes() if one.is_ok and one.num_tokens and one.probe.rung is rung]
    table = replace(table, rung=rung)
    return table.with_rows([row_of(outcome, table) for outcome in counting(outcomes)])


def chosen_shape(found: Findings) -> Ranked | None:
    """Preferred in hindsight, else confirmed, else first of the search, else the best that the table expects of what
    ran, else the smallest.

    Its speed is that of its own runs where there are any: of the later half, where they differ.
    """
    chosen = _chosen(found)
    speeds = [one.tok_per_sec for one in found.good_runs(chosen.shape) if one.tok_per_sec] if chosen else []
    if chosen is None or not speeds:
        return chosen
    lasting = speeds if min(speeds) >= SLOWER * max(speeds) else speeds[len(speeds) // 2 :]
    return chosen.model_copy(update={"tok_per_sec": median(lasting)})


def kept_speed(found: Findings) -> float:
    """tokens/s of a shape's last run over those of its first, of the shape where that is least; 1 where none ran twice.

    A machine that throttles becomes slower while it is measured.
    """
    speeds: defaultdict[Shape, list[float]] = defaultdict(list)
    for one in found.outcomes(tuned=True):
        if one.is_ok and one.tok_per_sec and one.num_steps >= FEWEST_PROBE_STEPS:
            speeds[one.probe.shape].append(one.tok_per_sec)
    return min((each[-1] / each[0] for each in speeds.values()), default=1.0)


def _chosen(found: Findings) -> Ranked | None:
    if found.preferred is not None:
        return found.preferred.chosen
    if found.confirm is not None and found.confirm.chosen is not None:
        return found.confirm.chosen
    if found.search is not None and found.search.ranked:
        return found.search.ranked[0]
    if found.prior is not None and found.prior.expected and found.envelope is not None:
        envelope = found.envelope.envelope
        one = _first_that_fits(found.prior.expected, envelope)
        return Ranked(
            preset=one.preset,
            shape=one.shape,
            val_bpb=one.val_bpb,
            spread=one.spread,
            source="table",
            tok_per_sec=one.tok_per_sec,
            memory_mb=envelope.memory_of(one.shape),
            band=envelope.band(one.shape),
        )
    return None


def _first_that_fits(expected: Sequence[Expected], envelope: Envelope) -> Expected:
    """Of presets that ran, best first; where each took more than memory should be filled, the one that took least."""
    fitting = (one for one in expected if envelope.band(one.shape) is not Band.TOO_LARGE)
    return next(fitting, None) or min(expected, key=lambda one: envelope.memory_of(one.shape))
