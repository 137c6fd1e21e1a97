"""The rule by which an attention backend is taken: the first of an order that loads and passes its probe."""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

Attention = TypeVar("Attention")


def asked_first(asked: str, order: Iterable[str]) -> list[str]:
    """The order with the backend somebody asked for in front; it still has to pass its probe."""
    names = list(order)
    return names if asked == "auto" else [asked, *(name for name in names if name != asked)]


def first_that_passes(
    device, candidates: Mapping[str, Callable[[], Attention]], probe: Callable[[Attention], None]
) -> Attention:
    """Notes on `device` which one it is and why earlier ones are not. RuntimeError when none passes."""
    rejected = []
    for name, load in candidates.items():
        try:
            attention = load()
            probe(attention)
        except Exception as error:  # whatever a backend raises disqualifies it; the reason is kept
            rejected.append(f"{name}: {_first_line(error)}")
            continue
        first = f"first of {', '.join(candidates)} for {device.arch}" if not rejected else "; ".join(rejected)
        device.note("attention_backend", name, f"probe passed; {first}")
        return attention
    raise RuntimeError(f"no attention backend works on {device.arch}: {'; '.join(rejected)}")


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:200]}" if text else type(error).__name__
