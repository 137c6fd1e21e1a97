"""Runs of 32 consecutive tokens as 64-bit numbers, and a set of them that is asked hundreds of millions of times.

A document with fewer tokens is one run as a whole. Two different runs have the same number once in 2^64.
"""

import numpy as np

from shared.data.dataset import RUN_TOKENS

_PAD = 2**16  # stands where a short document has no more token
_FACTOR = np.uint64(0xD6E8FEB86659FD93)
_BITS_PER_RUN = 16  # of the first look, which is wrong for one run in sixteen


def _mixed(values: np.ndarray) -> np.ndarray:
    """splitmix64's finalizer, in place."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        values ^= values >> np.uint64(shift)
        values *= np.uint64(factor)
    values ^= values >> np.uint64(31)
    return values


_NUMBER_OF_TOKEN = _mixed(np.arange(1, _PAD + 2, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))


def run_numbers(tokens: np.ndarray) -> np.ndarray:
    """uint64 [..., n - 31] for tokens [..., n]: the run that starts at each place.

    A polynomial modulo 2^64 whose width is doubled five times, so a token costs five multiplications.
    """
    numbers, factor, width = _NUMBER_OF_TOKEN[tokens], _FACTOR, 1
    while width < RUN_TOKENS:
        with np.errstate(over="ignore"):
            numbers = numbers[..., :-width] * factor + numbers[..., width:]
            factor = factor * factor
        width *= 2
    return _mixed(numbers)


def short_numbers(tokens: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """uint64 [documents]: whole documents of at most 32 tokens, BOS among them, that start in `tokens`.

    The BOS is left out, so that no other document's beginning has the same number.
    """
    places = np.arange(RUN_TOKENS)
    inside = (places > 0) & (places < lengths[:, None])
    window = tokens[np.where(inside, starts[:, None] + places, 0)].astype(np.int64)
    return run_numbers(np.where(inside, window, _PAD))[:, 0] if len(starts) else np.empty(0, dtype=np.uint64)


def sampled(numbers: np.ndarray, one_in: int) -> np.ndarray:
    """Those of every text that are multiples of `one_in`, a power of two: the same ones wherever they stand."""
    return numbers if one_in == 1 else numbers[numbers & np.uint64(one_in - 1) == 0]


class RunSet:
    """Sorted numbers, each with whether it was met. 8 bytes a run, 2 bytes for the first look, 1 for the answer."""

    def __init__(self, numbers: np.ndarray):
        self.numbers = np.unique(numbers)
        self.met = np.zeros(len(self.numbers), dtype=bool)
        bits = max(3, int(np.ceil(np.log2(max(1, len(self.numbers)) * _BITS_PER_RUN))))
        self._shift = np.uint64(64 - bits)
        self._first_look = np.zeros(2 ** (bits - 3), dtype=np.uint8)
        self._fill()

    def _fill(self) -> None:
        if not len(self.numbers):
            return
        places = self.numbers >> self._shift
        firsts = np.flatnonzero(np.diff(places >> np.uint64(3), prepend=np.uint64(2**63)))
        bits = np.uint8(1) << (places & np.uint64(7)).astype(np.uint8)
        self._first_look[places[firsts] >> np.uint64(3)] = np.bitwise_or.reduceat(bits, firsts)

    def meet(self, numbers: np.ndarray) -> None:
        """Marks those that are in the set."""
        places = numbers >> self._shift
        bytes_there = self._first_look[places >> np.uint64(3)]
        maybe = numbers[bytes_there >> (places & np.uint64(7)).astype(np.uint8) & 1 != 0]
        if not len(maybe):
            return
        index = np.minimum(np.searchsorted(self.numbers, maybe), len(self.numbers) - 1)
        self.met[index[self.numbers[index] == maybe]] = True

    def was_met(self, numbers: np.ndarray) -> np.ndarray:
        """bool [runs], for numbers that are in the set."""
        return self.met[np.searchsorted(self.numbers, numbers)]
