"""The list of promoted kernels: which one an op uses on which hardware, on whose evidence. Imports no framework."""

import tomllib
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, ValidationError

from kernels.records import HardwareKey, KernelName, OpName
from shared.contracts import Contract, Name, Sha256
from shared.files import write_atomic

PROMOTED_FILE = Path(__file__).parent / "promoted.toml"


class Promotion(Contract):
    op: OpName
    hardware_key: HardwareKey
    kernel: KernelName
    evidence: Name
    """id of the integration run that decided"""
    signature: Sha256
    """catalog.signature of the kernel when it was measured"""


class _File(Contract):
    promoted: tuple[Promotion, ...] = Field(default=())


def read(path: Path = PROMOTED_FILE) -> tuple[Promotion, ...]:
    """ValueError, in one line, for a file that is none."""
    try:
        return _File.model_validate(tomllib.loads(path.read_text())).promoted
    except (ValidationError, tomllib.TOMLDecodeError) as error:
        first = str(error).splitlines()[0]
        raise ValueError(f"{path.name} is no list of promotions ({first}): restore it from version control") from None


def find(op: str, hardware_key: str, promotions: Sequence[Promotion] | None = None) -> Promotion | None:
    """What is promoted for the op on exactly this machine."""
    rows = read() if promotions is None else promotions
    return next((row for row in rows if (row.op, row.hardware_key) == (op, hardware_key)), None)


def replace(rows: Sequence[Promotion], new: Promotion) -> tuple[Promotion, ...]:
    """With `new` in the place of what the op used on that machine before."""
    kept = [row for row in rows if (row.op, row.hardware_key) != (new.op, new.hardware_key)]
    return tuple(sorted([*kept, new], key=lambda row: (row.op, row.hardware_key)))


def remove(rows: Sequence[Promotion], op: str, hardware_key: str) -> tuple[Promotion, ...]:
    return tuple(row for row in rows if (row.op, row.hardware_key) != (op, hardware_key))


def write(rows: Sequence[Promotion], path: Path = PROMOTED_FILE) -> None:
    """Keeps the comment at the head of the file; whole or not at all."""
    head = [line for line in path.read_text().splitlines() if line.startswith("#")] if path.exists() else []
    blocks = ["\n".join(["[[promoted]]", *_lines(row)]) for row in rows]
    write_atomic(path, "\n\n".join(["\n".join(head), *blocks]).strip() + "\n")


def _lines(row: Promotion) -> list[str]:
    """No value needs escaping: letters, digits and _.- but for the evidence, whose quotes and backslashes go."""
    values = row.model_dump()
    values["evidence"] = values["evidence"].replace("\\", "/").replace('"', "'")
    return [f'{name} = "{value}"' for name, value in values.items()]
