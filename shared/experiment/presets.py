"""Named shapes, one table (SPEC and docs quote it, `--preset NAME` reads it), and how long is trained by default."""

from dataclasses import dataclass

from shared.contracts import Shape


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    name: str
    use: str
    shape: Shape


def _preset(name: str, use: str, seq_len: int, model: str, batch: str, window_pattern: str) -> Preset:
    depth, d_model, heads = (int(number) for number in model.split("/"))
    device_batch_size, total_batch_size = (int(number) for number in batch.split("/"))
    shape = Shape(
        seq_len=seq_len,
        depth=depth,
        d_model=d_model,
        heads=heads,
        device_batch_size=device_batch_size,
        total_batch_size=total_batch_size,
        window_pattern=window_pattern,
    )
    return Preset(name=name, use=use, shape=shape)


# name, use, seq_len, depth/d_model/heads, device/total batch, window pattern
_ROWS = (
    ("m5-tiny", "fast iteration", 256, "2/128/1", "4/12288", "L"),
    ("m5-small", "default start", 512, "4/256/2", "4/12288", "L"),
    ("m5-balanced", "best validation target", 1024, "6/384/3", "4/12288", "SSSSL"),
    ("m5-large", "bridge to upstream's model", 512, "8/512/4", "4/16384", "SSSSL"),
    ("m5-xlarge", "largest practical on a laptop", 2048, "8/512/4", "4/16384", "L"),
    ("upstream", "reference only, opt-in", 2048, "8/512/4", "8/65536", "SSSL"),
)

PRESETS: dict[str, Preset] = {row[0]: _preset(*row) for row in _ROWS}

DEFAULT_PRESET = "m5-small"
DEFAULT_BUDGET_S = 300.0
SMALLEST_PRESET = "m5-tiny"
SMOKE_BUDGET_S = 5.0


def preset_of(shape: Shape) -> str | None:
    """The preset that is exactly this shape."""
    return next((preset.name for preset in PRESETS.values() if preset.shape == shape), None)


def find_preset(name: str) -> Preset:
    """The preset of that name; ValueError names the ones there are."""
    if name not in PRESETS:
        raise ValueError(f"unknown preset '{name}': choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
