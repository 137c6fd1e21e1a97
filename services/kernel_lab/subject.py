"""What a command is about: a kernel of kernels/ or the kernel.py of a workspace, with all that is fixed around it."""

from dataclasses import dataclass
from pathlib import Path

from kernels import catalog
from kernels.records import BuildSpec, Definition, Framework, Language, Solution, SourceFile
from services.kernel_lab.fixed import digest, fixed_files, imported_files
from services.kernel_lab.ledger import Ledger
from services.kernel_lab.workspace import KERNEL, RECORD, open_workspace
from shared.files import sha256_bytes
from shared.kernel_lab.job import LARGEST_CANDIDATE_BYTES


@dataclass(frozen=True)
class Subject:
    name: str
    """OP/KERNEL, or the workspace's path"""
    definition: Definition
    solution: Solution
    path: Path
    """the one file that is run"""
    function: str
    language: Language
    sha256: str
    """of that file's bytes"""
    fixed_sha256: str
    """of what judges it, and of what it takes from kernels/"""
    is_workspace: bool = False

    @property
    def op(self) -> str:
        return self.definition.name

    @property
    def framework(self) -> Framework:
        return catalog.framework_of(self.language)


def find(candidate: str, ledger: Ledger) -> Subject:
    """ValueError when it is neither, or its fixed files were edited."""
    folder = Path(candidate).expanduser()
    if (folder / RECORD).is_file():
        return _of_workspace(folder.absolute(), ledger)
    op, _, kernel = candidate.partition("/")
    if op not in catalog.ops():
        raise ValueError(
            f"'{candidate}' is no workspace (a folder with {RECORD}) and no OP/KERNEL; ops are "
            f"{', '.join(catalog.ops())}"
        )
    return of_catalog(op, kernel)


def of_catalog(op: str, kernel: str) -> Subject:
    if kernel.startswith("wrong/"):
        found = next((one for one, _ in catalog.wrong(op) if one.name == f"{op}/{kernel}"), None)
        if found is None:
            raise ValueError(f"{op} has no kernel '{kernel}'")
    else:
        found = catalog.solution(op, kernel)
    return subject_of(found, catalog.folder(op) / f"{kernel}.py", catalog.definition(op), fixed_files(op))


def subject_of(solution: Solution, path: Path, definition: Definition, fixed: dict[str, str]) -> Subject:
    """fixed: hashes of what judges it."""
    content = read_candidate(path)
    return Subject(
        name=solution.name,
        definition=definition,
        solution=solution,
        path=path,
        function=solution.spec.entry_point.split("::")[1],
        language=solution.spec.languages[0],
        sha256=sha256_bytes(content),
        fixed_sha256=digest(fixed | imported_files(content)),
    )


def _of_workspace(folder: Path, ledger: Ledger) -> Subject:
    record = open_workspace(folder, ledger)
    path = folder / KERNEL
    content = read_candidate(path)
    solution = Solution(
        name=f"{record.op}/workspace",
        definition=record.op,
        author="workspace",
        spec=BuildSpec(languages=(record.language,), entry_point=f"{KERNEL}::{record.function}"),
        sources=(SourceFile(path=KERNEL, content=content.decode(errors="replace")),),
    )
    return Subject(
        name=str(folder),
        definition=catalog.definition(record.op),
        solution=solution,
        path=path,
        function=record.function,
        language=record.language,
        sha256=sha256_bytes(content),
        fixed_sha256=digest(record.fixed | imported_files(content)),
        is_workspace=True,
    )


def read_candidate(path: Path) -> bytes:
    """ValueError when it is missing or larger than anybody writes."""
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_CANDIDATE_BYTES + 1)
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: write the kernel there, or run lab init") from None
    if len(content) > LARGEST_CANDIDATE_BYTES:
        raise ValueError(f"{path} is larger than {LARGEST_CANDIDATE_BYTES >> 10} KiB, which a kernel has no need of")
    return content
