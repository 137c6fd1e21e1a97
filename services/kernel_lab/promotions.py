"""kernels/promoted.toml: what is promoted on this hardware, adopting a workspace's kernel, writing and taking back."""

import re
from pathlib import Path

from kernels import catalog, promotion
from kernels.promotion import Promotion
from services.kernel_lab.subject import Subject, read_candidate
from services.kernel_lab.surroundings import Missing
from shared.files import sha256_bytes, sha256_file, write_atomic


def all_promoted() -> tuple[Promotion, ...]:
    return promotion.read(promotion.PROMOTED_FILE)


def promoted_here(hardware_key: str) -> dict[str, str]:
    """{op: kernel}"""
    return {one.op: one.kernel for one in all_promoted() if one.hardware_key == hardware_key}


def is_promoted(subject: Subject, promoted: dict[str, str]) -> bool:
    """Whether recipes use these very bytes. promoted: of promoted_here."""
    kernel = adopted(subject)
    return kernel is not None and promoted.get(subject.op) == kernel


def write(new: Promotion) -> None:
    promotion.write(promotion.replace(all_promoted(), new), promotion.PROMOTED_FILE)


def take_back(old: Promotion) -> None:
    promotion.write(promotion.remove(all_promoted(), old.op, old.hardware_key), promotion.PROMOTED_FILE)


def why_stale(one: Promotion) -> str:
    """Empty while the kernel is what was measured."""
    if one.op not in catalog.ops() or not (catalog.folder(one.op) / f"{one.kernel}.py").is_file():
        return "its file is gone"
    if catalog.signature(one.op, one.kernel) != one.signature:
        return "the kernel, its op, or the version of torch or triton is not the one that was measured"
    return ""


def kernel_name(subject: Subject) -> str:
    """What the candidate is, or would be, called in kernels/."""
    if not subject.is_workspace:
        return subject.solution.name.split("/", 1)[1]
    stem = re.sub(r"[^a-z0-9]+", "_", Path(subject.name).name.lower()).strip("_") or "kernel"
    return f"{subject.language}_{stem.removeprefix(f'{subject.language}_')}"[:60]


def adopted(subject: Subject) -> str | None:
    """Name of the file of kernels/ that holds these very bytes."""
    same = [path for path in sorted(catalog.folder(subject.op).glob("*.py")) if sha256_file(path) == subject.sha256]
    return next((path.stem for path in same if not path.stem.endswith("_reference")), None)


def to_try(subject: Subject) -> tuple[str, dict[str, bytes]]:
    """What runs call the candidate, and the file they need for it, by OP/KERNEL: none where kernels/ has these bytes.

    Nothing that is only tried comes into kernels/, where every recipe reads. ValueError when another kernel has that
    name, or the candidate was edited meanwhile.
    """
    if (known := adopted(subject)) is not None:
        return known, {}
    text = read_candidate(subject.path)
    if sha256_bytes(text) != subject.sha256:
        raise ValueError(f"{subject.path} was edited meanwhile: verify it again")
    name = _new_file(subject).stem
    return name, {f"{subject.op}/{name}": text}


def adopt(subject: Subject) -> str:
    """Copies a workspace's kernel to where all recipes take kernels from. Returns its name there.

    ValueError as to_try, Missing where kernels/ cannot be written, as in a container.
    """
    name, files = to_try(subject)
    for text in files.values():
        path = _new_file(subject)
        try:
            write_atomic(path, text)
        except OSError as error:
            said = f"{path.parent} cannot be written ({error.strerror}): add the kernel to the checkout"
            raise Missing("needs-integration-adapter", f"{said} and build the image") from None
    return name


def _new_file(subject: Subject) -> Path:
    path = catalog.folder(subject.op) / f"{kernel_name(subject)}.py"
    if path.exists():
        raise ValueError(f"{path} is another kernel: rename the workspace's folder, or remove that file")
    return path
