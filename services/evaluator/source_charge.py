"""What a recipe's source could know of the validation text is added to its val_bpb, so that no text in it pays.

A source that holds validation text lowers the nats of that text by at most one bit for each bit of its own (it is a
code for the text, and no code does better for free). Its bits are those of its compressed size beyond the shipped
recipes, per byte of text that was scored. The first FREE_BPB are not charged: they leave room for a new idea's code,
and are half of what any cheat may gain.
"""

from typing import NamedTuple

from services.evaluator.scoring import BitsPerByte
from shared.contracts import Choice
from shared.runs.recipe_file import added_bytes
from shared.runs.shipped import shipped_sources

FREE_BPB = 0.005


class SourceCharge(NamedTuple):
    num_bytes: int
    """compressed, beyond the shipped recipe that is most like it"""
    worth_bpb: float
    """the most that so many bytes can lower val_bpb by"""

    @property
    def bpb(self) -> float:
        return max(0.0, self.worth_bpb - FREE_BPB)

    @property
    def choice(self) -> Choice:
        reason = "compressed, beyond the shipped recipes; as validation text they could lower val_bpb by "
        reason += f"{self.worth_bpb:.4f}, of which {FREE_BPB:g} are free and {self.bpb:.4f} were added to it"
        return Choice(what="recipe source", chosen=f"{self.num_bytes} bytes", reason=reason)


def source_charge(source: bytes, scored: BitsPerByte) -> SourceCharge:
    num_bytes = 0 if source in shipped_sources() else added_bytes(source, shipped_sources())
    return SourceCharge(num_bytes, 8 * num_bytes / scored.total_bytes)
