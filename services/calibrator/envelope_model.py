"""What a machine holds and how fast it is, as a function of the shape: fitted from the envelope's probes.

Memory and time of one pass are straight lines over its tokens, one line a family (a preset's depth, width and heads).
"""

from enum import StrEnum

from pydantic import Field

from shared.contracts import Contract, Shape


class Band(StrEnum):
    """How much of the device's memory a shape takes."""

    COMFORTABLE = "comfortable"
    """at most half"""
    WARM = "warm"
    """at most three quarters"""
    PRESSURED = "pressured"
    """at most nine tenths"""
    TOO_LARGE = "does not fit"


BAND_LIMITS = {Band.COMFORTABLE: 0.50, Band.WARM: 0.75, Band.PRESSURED: 0.90}


class Line(Contract):
    """base + slope x tokens in one pass."""

    base: float
    slope: float

    def at(self, tokens: float) -> float:
        return self.base + self.slope * tokens


class Family(Contract):
    """One preset's model on this machine."""

    preset: str
    depth: int
    d_model: int
    heads: int
    memory_mb: Line
    """peak of training, MiB"""
    pass_seconds: Line
    """forward and backward, with its share of the optimizer, at `flops_per_token` of the probes"""
    flops_per_token: float = Field(gt=0)
    """of the shapes that were timed; other lengths and windows are scaled by theirs"""
    largest_pass_tokens: int = Field(ge=0)
    """most tokens in one pass that survived training, evaluation and hand-over with headroom; 0: nothing fits"""
    inferred: bool = False
    """from smaller families' figures, not from probes of its own"""
    probes: tuple[str, ...] = ()
    """keys of the probes behind it"""


class Envelope(Contract):
    memory_mb: float = Field(gt=0)
    families: tuple[Family, ...]

    def family(self, shape: Shape) -> Family | None:
        """The one whose model the shape has."""
        return next((one for one in self.families if model_of(one) == model_of(shape)), None)

    def memory_of(self, shape: Shape) -> float:
        """MiB. ValueError for a model that is in no family."""
        return self._found(shape).memory_mb.at(pass_tokens(shape))

    def band(self, shape: Shape) -> Band:
        if pass_tokens(shape) > self._found(shape).largest_pass_tokens:
            return Band.TOO_LARGE
        share = self.memory_of(shape) / self.memory_mb
        return next((band for band, limit in BAND_LIMITS.items() if share <= limit), Band.TOO_LARGE)

    def tok_per_sec(self, shape: Shape, flops_per_token: float) -> float:
        """Tokens per second; `flops_per_token` is the shape's own. ValueError for a model that is in no family."""
        family, tokens = self._found(shape), pass_tokens(shape)
        return tokens / (family.pass_seconds.at(tokens) * flops_per_token / family.flops_per_token)

    def _found(self, shape: Shape) -> Family:
        family = self.family(shape)
        if family is None:
            raise ValueError(f"no envelope of a model with depth {shape.depth} and width {shape.d_model}")
        return family


def model_of(of: Shape | Family) -> tuple[int, int, int]:
    return of.depth, of.d_model, of.heads


def alike(first: Shape, second: Shape) -> bool:
    """Whether they differ in nothing but the size of their passes: they train the same."""
    return first == second.model_copy(update={"device_batch_size": first.device_batch_size})


def pass_tokens(shape: Shape) -> int:
    """Tokens in one forward and backward pass."""
    return shape.device_batch_size * shape.seq_len
