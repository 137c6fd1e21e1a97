"""Finds tokens worth auditing: what does the same recipe say of a token when nothing shown betrays it?

The exact audit tests one cut a row. Screening asks about 42 or 64 tokens of a row: its rows are altered text, so an
honest forward answers a little differently, yet a token that was scored far better than here is suspect. The recipe is
its own reference: with no sight of the token it can do no better than its honest forward.

Two kinds of rows, because each alone can be got round. `spans`: a row whose tokens after every cut are replaced for a
short stretch; the context is nearly whole, but later tokens can hint at what was replaced. `segments`: pieces of many
rows one after the other, each ending at its cut; nothing of a piece's future is shown, but its context is short.

A process may remember all that it was shown when it is probed. So where there are rows enough, no row shows what
another one asks about: a row is altered in one way only, once in spans, or in pieces that leave gaps.
"""

from dataclasses import dataclass

import numpy as np

from services.evaluator.scoring import Scores, take
from shared.data.rows import Rows

SPANS_GAP, SEGMENTS_GAP = 32, 48
"""tokens from one cut to the next: a segment is all the context of its cut, a span only disturbs it"""
SPAN = (4, 13)
"""replaced tokens after a cut: at least, below"""


@dataclass(frozen=True)
class Screening:
    """`shown` [n, T + 1] are rows to show. Asked number k: what the forward says at column asked[k] of shown row
    shown_row[k] is about token cuts[k] + 1 of row positions[k] of the scores."""

    shown_nT1: np.ndarray
    shown_row_K: np.ndarray
    asked_K: np.ndarray
    positions_K: np.ndarray
    cuts_K: np.ndarray
    in_spans_K: np.ndarray
    """bool: of a row of spans, not of segments"""


def draw_screening(rows: Rows, scores: Scores, num_rows: int, random: np.random.Generator) -> Screening:
    """Half of the rows of each kind, in random order, at secret places."""
    rows_NT1 = take(rows, scores.indices)
    kinds = random.permutation(num_rows) % 2
    own = random.permutation(len(rows_NT1))
    in_spans, in_segments = own[: kinds.sum()], own[kinds.sum() :]
    pieces = Pieces(rows_NT1, in_segments if len(in_segments) else own, random)
    spans = iter(np.resize(in_spans, kinds.sum()))
    drawn = [spans_row(rows_NT1, random, next(spans)) if kind else pieces.next_row() for kind in kinds]
    return Screening(
        shown_nT1=np.stack([shown for shown, _, _, _ in drawn]),
        shown_row_K=np.repeat(np.arange(num_rows), [len(asked) for _, asked, _, _ in drawn]),
        asked_K=np.concatenate([asked for _, asked, _, _ in drawn]),
        positions_K=np.concatenate([positions for _, _, positions, _ in drawn]),
        cuts_K=np.concatenate([cuts for _, _, _, cuts in drawn]),
        in_spans_K=np.repeat(kinds == 1, [len(asked) for _, asked, _, _ in drawn]),
    )


Drawn = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""row to show, asked columns, positions, cuts"""


def spans_row(rows_NT1: np.ndarray, random: np.random.Generator, position: int) -> Drawn:
    """Of one row, with all its cuts."""
    donor = random.integers(0, len(rows_NT1))
    shown, others = rows_NT1[position].copy(), rows_NT1[donor]
    cuts = _asked_columns(len(shown) - 1, SPANS_GAP, random)
    for cut in cuts:
        span = slice(cut + 1, cut + 1 + int(random.integers(*SPAN)))
        shown[span] = differing(others[span], shown[span])
    return shown, cuts, np.full(len(cuts), position), cuts


class Pieces:
    """Rows of pieces of `chosen` rows: of many in each, from where no earlier piece began or ended nearby."""

    def __init__(self, rows_NT1: np.ndarray, chosen: np.ndarray, random: np.random.Generator):
        self.rows_NT1, self.chosen, self.random = rows_NT1, chosen, random
        self.seq_len = rows_NT1.shape[1] - 1
        self.gap = min(SEGMENTS_GAP, self.seq_len - 1)
        self.cuts = [self._apart() for _ in chosen]

    def next_row(self) -> Drawn:
        asked = _asked_columns(self.seq_len, SEGMENTS_GAP, self.random)
        # All different where there are rows enough: a piece could show another one's future.
        most_left = np.argsort([self.random.random() - len(cuts) for cuts in self.cuts])
        taken = np.resize(most_left, len(asked))
        cuts = np.array([self._next_cut(int(number)) for number in taken])
        filler = self.rows_NT1[self.chosen[most_left[-1]]]
        positions = self.chosen[taken]
        return segments_row(self.rows_NT1, filler, asked, positions, cuts), asked, positions, cuts

    def _next_cut(self, number: int) -> int:
        if not self.cuts[number]:
            self.cuts[number] = self._apart()
        return self.cuts[number].pop()

    def _apart(self) -> list[int]:
        """Two gaps from each other, in random order: between two pieces is one that is not shown."""
        start = int(self.random.integers(0, min(2 * self.gap, self.seq_len - 1)))
        return [int(cut) for cut in self.random.permutation(np.arange(start, self.seq_len - 1, 2 * self.gap))]


def segments_row(
    rows_NT1: np.ndarray, filler: np.ndarray, asked: np.ndarray, positions: np.ndarray, cuts: np.ndarray
) -> np.ndarray:
    """Tokens [T + 1]: piece k ends at column asked[k] with token cuts[k] of row positions[k].

    `filler` stands before a cut near the start of its row, and after the last piece. What follows a piece is never
    what follows it in its row.
    """
    shown, start = filler.copy(), 0
    for end, position, cut in zip(asked, positions, cuts, strict=True):
        length = min(end + 1 - start, cut + 1)
        shown[end + 1 - length : end + 1] = rows_NT1[position, cut + 1 - length : cut + 1]
        start = end + 1
    shown[asked + 1] = differing(shown[asked + 1], rows_NT1[positions, cuts + 1])
    return shown


def _asked_columns(seq_len: int, gap: int, random: np.random.Generator) -> np.ndarray:
    """Every column but the last, after which nothing is shown, is as likely as another."""
    gap = min(gap, seq_len - 1)
    return np.arange(int(random.integers(0, gap)), seq_len - 1, gap)


def differing(replacement: np.ndarray, replaced: np.ndarray) -> np.ndarray:
    """`replacement`, with another of its tokens (or, failing that, a neighbouring id) where it equals `replaced`."""
    rolled = np.where(replacement == replaced, np.roll(replacement, 1, axis=-1), replacement)
    below = np.where(replaced > 0, replaced - 1, 1).astype(rolled.dtype)
    return np.where(rolled == replaced, below, rolled)
