"""What a job asks for, as far as its entry in the queue tells. Anybody may have written it: bounded, one line, no more
than something to show.
"""

import hashlib
import json
import re
import zlib
from dataclasses import dataclass
from typing import Any

from shared.bounds import LARGEST_RECIPE_BYTES, LONGEST_NAME, one_line

LARGEST_BYTES = 6 * LARGEST_RECIPE_BYTES + 16_384
SUBMITTED = re.compile(r"^([0-9a-f]{8})-\d{2,}-")
"""ids that `autoresearch submit` makes: the group's name, a number, the target, the seed"""


@dataclass(frozen=True)
class Requested:
    function: str = ""
    """train, calibrate, prepare"""
    preset: str = ""
    recipe: str = ""
    """the beginning of its sha256; empty is the worker's own recipe"""
    group: str = ""


def requested(job_id: str, data: bytes | None) -> Requested:
    """Empty fields where the entry cannot be read, or is gone after a week."""
    submitted = SUBMITTED.match(job_id)
    group = f"g-{submitted[1]}" if submitted else ""
    try:
        name, _, _, arguments = json.loads(_inflated(data or b""))
        preset, source = arguments.get("preset"), arguments.get("recipe")
    except (ValueError, TypeError, AttributeError):
        return Requested(group=group)
    recipe = hashlib.sha256(source.encode(errors="surrogatepass")).hexdigest()[:8] if isinstance(source, str) else ""
    return Requested(_shown(str(name).rpartition(".")[2]), _shown(preset), recipe, group)


def _shown(value: Any) -> str:
    return one_line(value, LONGEST_NAME) if isinstance(value, str) else ""


def _inflated(data: bytes) -> bytes:
    """ValueError when it is larger than a job may be."""
    try:
        content = zlib.decompressobj().decompress(data, LARGEST_BYTES + 1)
    except zlib.error:
        content = data
    if len(content) > LARGEST_BYTES:
        raise ValueError("too large to look at")
    return content
