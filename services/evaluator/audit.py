"""Catches forwards that know more than a prefix: look-ahead, state between calls, randomness.

A fresh process that has seen nothing gets rows whose tokens after a secret cut come from another row, so it cannot
tell an audited row from a scored one. Before the cut it must repeat what the scoring process said. A forward that
used later tokens, earlier rows or its own history cannot: it was never shown them.

One row tests only its cut for a look-ahead of one token, so most cuts are drawn among the tokens that were predicted
best, where a look-ahead that cheats on few tokens shows (docs/evaluation.md has the odds).
"""

import secrets
from dataclasses import dataclass

import numpy as np

from services.evaluator.forward_process import ForwardProcess, batches
from services.evaluator.scoring import Scores, score_tokens, take
from shared.contracts import Check
from shared.data.rows import Rows
from shared.engines import Engine

FEWEST_ROWS, MOST_ROWS, SHARE_OF_ROWS = 16, 512, 4
STRATA = (0.01, 0.1, 1.0)  # cuts come in equal parts from the best-predicted 1 %, 10 % and all of the tokens
LARGEST_DIFFERENCE = 0.05  # nats, of one token; float noise between two equal processes is far below
LARGEST_MEAN_DIFFERENCE = 1e-3  # nats; as val_bpb some 0.0004, under any seed noise


@dataclass(frozen=True)
class Probe:
    """Row `position` of the scores is shown with the tokens after `cut` taken from row `donor`."""

    position: int
    cut: int
    """tokens [0, cut] are the row's own, so logits [0, cut] must not change"""
    donor: int


def draw_probes(scores: Scores) -> list[Probe]:
    """Secret, different every time: a recipe that knew them could behave on just these."""
    random = np.random.default_rng(secrets.randbits(128))
    num_rows, seq_len = scores.nats_NT.shape
    count = min(MOST_ROWS, max(FEWEST_ROWS, num_rows // SHARE_OF_ROWS))
    places = [_draw(scores, share, random, count // len(STRATA) + 1) for share in STRATA]
    flat = random.permutation(np.concatenate(places))[:count]
    return [_probe(scores, int(place) // (seq_len - 1), int(place) % (seq_len - 1), random) for place in flat]


def _draw(scores: Scores, share: float, random: np.random.Generator, count: int) -> np.ndarray:
    """Places among the `share` with the lowest cross-entropy. The last token of a row has nothing after it."""
    nats = scores.nats_NT[:, :-1].ravel()
    num_best = max(1, int(share * nats.size))
    if num_best == nats.size:
        return random.integers(0, nats.size, count)
    return random.choice(np.argpartition(nats, num_best)[:num_best], count)


def _probe(scores: Scores, position: int, cut: int, random: np.random.Generator) -> Probe:
    others = len(scores.indices) - 1
    donor = (position + 1 + int(random.integers(0, others))) % len(scores.indices) if others else position
    return Probe(position, cut, donor)


def spliced(rows_nT1: np.ndarray, donors_nT1: np.ndarray, cuts_n: np.ndarray) -> np.ndarray:
    """Each row up to and with its cut, then the donor's tokens, each different from the one it replaces."""
    after = np.arange(rows_nT1.shape[1])[None, :] > cuts_n[:, None]
    same = donors_nT1 == rows_nT1
    replacement = np.where(same, np.roll(donors_nT1, 1, axis=1), donors_nT1)
    return np.where(after, replacement, rows_nT1)


def audit(
    process: ForwardProcess, engine: Engine, rows: Rows, scores: Scores, probes: list[Probe], *, splice: bool = True
) -> tuple[float, float]:
    """Largest and mean difference in nats before the cuts, between `process` and the scores. inf when it fails."""
    largest, total, count = 0.0, 0.0, 0
    for chosen in batches(np.arange(len(probes)), len(process.tokens_BT)):
        batch = [probes[number] for number in chosen]
        positions = np.array([probe.position for probe in batch])
        cuts = np.array([probe.cut for probe in batch])
        own = take(rows, scores.indices[positions])
        donors = take(rows, scores.indices[[probe.donor for probe in batch]])
        shown = spliced(own, donors, cuts) if splice else own
        nats, lse = score_tokens(process, engine, shown, targets_nT=own[:, 1:])
        difference = np.maximum(np.abs(nats - scores.nats_NT[positions]), np.abs(lse - scores.lse_NT[positions]))
        before = difference[np.arange(nats.shape[1])[None, :] <= cuts[:, None]]
        largest = max(largest, float(before.max()))
        total, count = total + float(before.sum(dtype=np.float64)), count + before.size
    return largest, total / count


def agrees(largest: float, mean: float) -> bool:
    return largest <= LARGEST_DIFFERENCE and mean <= LARGEST_MEAN_DIFFERENCE


def verdict(
    number: int, spliced_difference: tuple[float, float], plain_difference: tuple[float, float] | None
) -> tuple[Check, ...]:
    """plain_difference: of the same rows unchanged; needed only when the spliced ones did not agree."""
    largest, mean = spliced_difference
    if plain_difference is None:
        detail = f"{number} rows repeated by a fresh process to {largest:.1e} nats (mean {mean:.1e})"
        return tuple(Check(name=name, passed=True, detail=detail) for name in ("causal", "stateless"))
    if agrees(*plain_difference):
        detail = f"changing later tokens changed what was said of earlier ones, by up to {largest:.2g} nats"
        return (Check(name="causal", passed=False, detail=detail),)
    detail = f"a fresh process said something else of the same rows, by up to {plain_difference[0]:.2g} nats"
    return (Check(name="stateless", passed=False, detail=detail),)
