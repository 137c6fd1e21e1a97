"""Catches forwards that know more than a prefix: look-ahead, state between calls, randomness.

A fresh process, started when nothing of the scoring one is left, first answers the screening rows (screening.py),
which say where something was gained that should not be. Then it gets probes: rows whose tokens after a secret cut come
from another row. Up to and with the cut it must repeat what the scoring process said. A forward that used later tokens,
earlier rows or its own history cannot: it was never shown them.

One probe tests only its cut for a look-ahead of one token: two rows show a difference exactly where they part. So the
cuts decide what is found, and they are drawn where the screening saw gains (docs/evaluation.md has the odds).
"""

import math
import secrets
from dataclasses import dataclass

import numpy as np

from services.evaluator.compute_limits import MeasuredProcess
from services.evaluator.forward_process import batches
from services.evaluator.scoring import Scores, score_tokens, take
from services.evaluator.screening import Screening, differing, draw_screening
from shared.contracts import Check
from shared.data.rows import Rows
from shared.engines import Engine
from shared.machine.device import Device

# Together under 0.3 of the rows of the larger rungs, so that scoring and audit cost at most 1.3 of scoring.
SCREENING_SHARE, FEWEST_SCREENING, MOST_SCREENING = 1 / 6, 12, 256
SCREENING_OF_FEW = 64
"""rows are screened where there are twice as many, else half of them: what is worth 0.01 bpb can be one token in six
hundred, and a sixth of the cheap rung showed none of them once in five times"""
PROBE_SHARE, FEWEST_PROBES, MOST_PROBES = 1 / 8, 12, 256
PROBES_PER_NAT = 250
"""A screening that sees gains nearly everywhere tells little, so it is followed by more probes: at a mean gain of w
nats 250 w (1 + w), up to one for every screened token. A recipe that answers altered rows badly only waits longer."""
LARGEST_GAIN = 10.0
"""nats a screened token's gain counts at most: logits may be wrong by 20,000 nats where nothing was gained, and such
decoys would take every probe"""
UNIFORM_SHARE = 1 / 6
"""of the probes: any token may be the cut, whatever the screening says"""


@dataclass(frozen=True)
class Limits:
    """How far an honest fresh process may be from the scores, in nats."""

    difference: float
    """of one token, either way"""
    mean_at_cuts: float
    """audited minus scored, over the cuts alone: a cheat always scores lower than it can repeat. Also over the cuts
    drawn anywhere: a recipe has no hand in where these are"""


EXACT = Limits(0.0, 0.0)
NEARLY = Limits(0.05, 0.005)
"""0.005 nats are a fifth of what 0.01 bits per byte are at 3.5 bytes a token"""


def limits_on(device: str) -> Limits:
    """On a CPU a row's numbers are the same in every process and at every place of a full batch."""
    return EXACT if Device.parse(device).is_cpu else NEARLY


@dataclass(frozen=True)
class Probe:
    """Row `position` of the scores is shown with the tokens after `cut` taken from row `donor`."""

    position: int
    cut: int
    """tokens [0, cut] are the row's own, so logits [0, cut] must not change"""
    donor: int
    anywhere: bool = False
    """the cut was drawn without a look at the screening"""


@dataclass(frozen=True)
class Difference:
    """Between the scores and an audited process: at the cuts and before them, in nats."""

    largest: float
    mean_at_cuts: float
    mean_anywhere: float = 0.0
    """over the cuts that no gain of the screening led to"""
    num_probes: int = 0
    """that were shown: none after one that is not within the limits"""

    def within(self, limits: Limits) -> bool:
        means = max(self.mean_at_cuts, self.mean_anywhere)
        return self.largest <= limits.difference and means <= limits.mean_at_cuts


def secret_random() -> np.random.Generator:
    """Different every time: a recipe that knew the cuts could behave on just these."""
    return np.random.default_rng(secrets.randbits(128))


def num_screening_rows(num_rows: int) -> int:
    few = min(SCREENING_OF_FEW, num_rows // 2)
    return min(MOST_SCREENING, max(FEWEST_SCREENING, few, int(num_rows * SCREENING_SHARE)))


def num_probes(num_rows: int, mean_gain: float = 0.0, num_screened: int = 0) -> int:
    """mean_gain: nats one of the `num_screened` tokens was scored better than screened, on average, losses counted as
    0."""
    usual = min(MOST_PROBES, max(FEWEST_PROBES, int(num_rows * PROBE_SHARE)))
    everyone = int(num_screened / (1 - UNIFORM_SHARE))
    return max(usual, min(int(PROBES_PER_NAT * mean_gain * (1 + mean_gain)), everyone))


def screen(
    process: MeasuredProcess, engine: Engine, rows: Rows, scores: Scores, random: np.random.Generator
) -> tuple[Screening, np.ndarray]:
    """Rows drawn and shown, and of every token asked about the nats it was scored better than it was said here [K]."""
    screening = draw_screening(rows, scores, num_screening_rows(len(scores.indices)), random)
    targets_nT = screening.shown_nT1[:, 1:].copy()
    expected_K = take(rows, scores.indices)[screening.positions_K, screening.cuts_K + 1]
    targets_nT[screening.shown_row_K, screening.asked_K] = expected_K
    parts = [
        score_tokens(process, engine, screening.shown_nT1[chosen], targets_nT[chosen])[0]
        for chosen in batches(np.arange(len(targets_nT)), process.batch_size)
    ]
    said_K = np.concatenate(parts)[screening.shown_row_K, screening.asked_K]
    return screening, said_K - scores.nats_NT[screening.positions_K, screening.cuts_K]


def draw_probes(scores: Scores, screening: Screening, gains_K: np.ndarray, random: np.random.Generator) -> list[Probe]:
    """A sixth of the cuts anywhere, the rest where the screening saw gains. Early cuts come first: a process may
    remember what it was shown, and no probe shows what a later one asks about."""
    num_rows, seq_len = scores.nats_NT.shape
    suspects, num_anywhere = draw_suspects(gains_K, screening.in_spans_K, num_rows, random)
    anywhere = random.integers(0, num_rows * (seq_len - 1), num_anywhere)
    positions = np.concatenate([screening.positions_K[suspects], anywhere // (seq_len - 1)])
    cuts = np.concatenate([screening.cuts_K[suspects], anywhere % (seq_len - 1)])
    donors = (positions + random.integers(1, max(2, num_rows), len(cuts))) % num_rows
    order = np.argsort(cuts, kind="stable")
    is_anywhere = order >= len(suspects)
    drawn = zip(positions[order], cuts[order], donors[order], is_anywhere, strict=True)
    return [Probe(int(row), int(cut), int(donor), bool(anywhere)) for row, cut, donor, anywhere in drawn]


def draw_suspects(
    gains_K: np.ndarray, in_spans_K: np.ndarray, num_rows: int, random: np.random.Generator
) -> tuple[np.ndarray, int]:
    """Numbers of screened tokens to probe, as many of spans as of segments, in proportion to their gains; and how many
    cuts to draw anywhere. Segments disturb an honest forward more: drawn together, they would take most probes."""
    positive_K = gains_K.clip(0, LARGEST_GAIN)
    count = num_probes(num_rows, float(positive_K.mean()), len(gains_K))
    weights_K = positive_K.copy()
    for kind in (in_spans_K, ~in_spans_K):
        weights_K[kind] /= max(float(positive_K[kind].sum()), 1e-9)
    suspects = weighted_sample(weights_K, count - int(count * UNIFORM_SHARE), random)
    return suspects, count - len(suspects)


def weighted_sample(weights_K: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """At most `count` different numbers, drawn one after the other in proportion to their positive weights."""
    positive = np.flatnonzero(weights_K > 0)
    arrival = random.exponential(size=len(positive)) / weights_K[positive]
    return positive[np.argsort(arrival)[:count]]


def spliced(rows_nT1: np.ndarray, donors_nT1: np.ndarray, cuts_n: np.ndarray) -> np.ndarray:
    """Each row up to and with its cut, then the donor's tokens, each different from the one it replaces."""
    after = np.arange(rows_nT1.shape[1])[None, :] > cuts_n[:, None]
    return np.where(after, differing(donors_nT1, rows_nT1), rows_nT1)


def audit(
    process: MeasuredProcess,
    engine: Engine,
    rows: Rows,
    scores: Scores,
    probes: list[Probe],
    limits: Limits,
    *,
    splice: bool = True,
) -> Difference:
    """What `process` says of the probes, or of their rows unchanged, against the scores. Until something is found: a
    recipe that looks ahead everywhere has some thousand probes."""
    largest, at_cuts = 0.0, []
    for chosen in batches(np.arange(len(probes)), process.batch_size):
        batch = [probes[number] for number in chosen]
        positions = np.array([probe.position for probe in batch])
        cuts = np.array([probe.cut for probe in batch])
        own = take(rows, scores.indices[positions])
        donors = take(rows, scores.indices[[probe.donor for probe in batch]])
        shown = spliced(own, donors, cuts) if splice else own
        nats, mode = score_tokens(process, engine, shown, targets_nT=own[:, 1:])
        signed = nats - scores.nats_NT[positions]
        difference = np.maximum(np.abs(signed), np.abs(mode - scores.mode_NT[positions]))
        up_to_cut = np.arange(nats.shape[1])[None, :] <= cuts[:, None]
        largest = max(largest, float(difference[up_to_cut].max()))
        at_cuts.append(signed[np.arange(len(batch)), cuts])
        if largest > limits.difference:
            break
    signed_at_cuts = np.concatenate(at_cuts)
    num_shown = len(signed_at_cuts)
    is_anywhere = np.array([probe.anywhere for probe in probes[:num_shown]])
    return Difference(largest, _mean(signed_at_cuts), _mean(signed_at_cuts[is_anywhere]), num_shown)


def _mean(nats: np.ndarray) -> float:
    return math.fsum(nats) / max(1, len(nats))


def verdict(number: int, probed: Difference, plain: Difference | None, limits: Limits) -> tuple[Check, ...]:
    """plain: of the same rows unchanged; needed only when the probes are not within the limits."""
    if plain is None:
        detail = f"{number} probes repeated by a fresh process to {probed.largest:.1e} nats, "
        detail += f"{probed.mean_at_cuts:+.1e} on average at the cuts"
        return tuple(Check(name=name, passed=True, detail=detail) for name in ("causal", "stateless"))
    if plain.within(limits):
        detail = f"changing later tokens changed what was said of earlier ones, by up to {probed.largest:.2g} nats"
        return (Check(name="causal", passed=False, detail=detail),)
    detail = f"a fresh process said something else of the same rows, by up to {plain.largest:.2g} nats"
    return (Check(name="stateless", passed=False, detail=detail),)
