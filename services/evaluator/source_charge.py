"""What a recipe's source could know of the validation text is added to its val_bpb, so that no text in it pays.

A source that holds validation text lowers the nats of that text by at most one bit for each bit of its own (it is a
code for the text, and no code does better for free). Its bits are those of its compressed size beyond the shipped
recipes, per byte of text that was scored. The first FREE_BYTES are not charged, nor what is worth less than FREE_BPB:
an idea's code has room in them. A kernel that is not shipped and that the recipe's process can read is a part of its
source. Where so little text is scored that they are worth more than MOST_FREE_BPB (below 1.1
MB, the cheap rung of common text), the rest of their worth is charged too, since no cheat may gain 0.01. On a rung that
is never ranked nothing can be gained, and nothing is charged.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from services.evaluator.scoring import BitsPerByte
from shared.contracts import Choice, Rung
from shared.runs.recipe_file import added_bytes
from shared.runs.shipped import shipped_sources

FREE_BPB, MOST_FREE_BPB = 0.005, 0.0075
FREE_BYTES = 1024
MOST_NAMED = 3
"""kernels in one line of a record"""


class SourceCharge(NamedTuple):
    num_bytes: int
    """compressed, beyond the shipped recipe that is most like it"""
    worth_bpb: float
    """the most that so many bytes can lower val_bpb by"""
    free_bpb: float
    rung: Rung
    with_kernels: str = ""
    """which ones are a part of it"""

    @property
    def bpb(self) -> float:
        return max(0.0, self.worth_bpb - self.free_bpb) if self.rung.is_ranked else 0.0

    @property
    def choice(self) -> Choice:
        reason = f"compressed{self.with_kernels}, beyond the shipped recipes; "
        if self.rung.is_ranked:
            reason += f"as validation text they could lower val_bpb by {self.worth_bpb:.4f}, of which "
            reason += f"{self.free_bpb:.4f} are free and {self.bpb:.4f} were added to it"
        else:
            reason += f"nothing is added for them on rung {self.rung}, which is never ranked"
        return Choice(what="recipe source", chosen=f"{self.num_bytes} bytes", reason=reason)


def source_charge(source: bytes, scored: BitsPerByte, rung: Rung, kernels: Sequence[Path] = ()) -> SourceCharge:
    """kernels: files that no release holds, from which the recipe could read."""
    known = b"".join((source, *(file.read_bytes() for file in kernels)))
    num_bytes = 0 if known in shipped_sources() else added_bytes(known, shipped_sources())
    bpb_per_byte = 8 / scored.total_bytes
    free_bpb = min(MOST_FREE_BPB, max(FREE_BPB, FREE_BYTES * bpb_per_byte))
    return SourceCharge(num_bytes, num_bytes * bpb_per_byte, free_bpb, rung, _named(kernels))


def _named(kernels: Sequence[Path]) -> str:
    if not kernels:
        return ""
    names = [f"{file.parent.name}/{file.stem}" for file in kernels]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f" with kernels that are not shipped ({', '.join(names[:MOST_NAMED])}{more})"
