"""A workspace: a folder with one mutable file, kernel.py. Everything that judges it lies elsewhere.

workspace.json says which op it is for and remembers the hashes of what is fixed; the ledger remembers those.
"""

from pathlib import Path

from kernels import catalog
from kernels.records import Language
from services.kernel_lab.fixed import digest, edited, fixed_files
from services.kernel_lab.ledger import EventKind, Ledger
from shared.contracts import Contract
from shared.files import write_atomic
from shared.kernel_lab.folder import workspaces_folder
from shared.kernel_lab.job import Init
from shared.runs.directory import read_record

KERNEL, RECORD = "kernel.py", "workspace.json"


class WorkspaceRecord(Contract):
    op: str
    language: Language
    function: str
    """name that kernel.py must define"""
    started_from: str
    fixed: dict[str, str]
    """{path in the checkout: sha256} of what its author may not change"""


def create(order: Init) -> tuple[Path, WorkspaceRecord]:
    """Lays the workspace out. ValueError when there is one and it is not to be refreshed."""
    folder = (order.workspace or workspaces_folder() / order.op).absolute()
    if folder.is_dir() and any(folder.iterdir()):
        return folder, _refresh(folder, order)
    if order.refresh:
        raise ValueError(f"{folder} holds no workspace to refresh: leave --refresh out")
    record = _record(order)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / KERNEL, _first_text(order))
    write_atomic(folder / RECORD, record.model_dump_json(indent=2) + "\n")
    return folder, record


def _refresh(folder: Path, order: Init) -> WorkspaceRecord:
    if not (folder / RECORD).is_file():
        raise ValueError(f"{folder} is not empty and holds no workspace: choose another --workspace")
    if not order.refresh:
        raise ValueError(
            f"{folder} holds a workspace: choose another --workspace, or keep its kernel.py with --refresh"
        )
    try:
        old = read_record(folder / RECORD, WorkspaceRecord)
    except ValueError:  # of another version, or torn: nothing of it is needed
        old = _record(order)
    if old.op != order.op:
        raise ValueError(f"{folder} is a workspace for {old.op}, not for {order.op}: choose another --workspace")
    record = old.model_copy(update={"fixed": fixed_files(order.op)})
    write_atomic(folder / RECORD, record.model_dump_json(indent=2) + "\n")
    return record


def _record(order: Init) -> WorkspaceRecord:
    of = catalog.definition(order.op)
    language = catalog.language_of(order.start_from) if order.start_from else Language(order.language)
    framework = catalog.framework_of(language)
    if framework not in of.reference:
        raise ValueError(f"{order.op} has no reference in {framework}: choose another --language")
    return WorkspaceRecord(
        op=order.op,
        language=language,
        function=catalog.entry_of(of, framework),
        started_from=order.start_from or "the reference",
        fixed=fixed_files(order.op),
    )


def _first_text(order: Init) -> str:
    """The kernel it starts from, or the plain reference: correct from the first minute on."""
    if order.start_from:
        return catalog.solution(order.op, order.start_from).sources[0].content
    framework = catalog.framework_of(Language(order.language))
    return catalog.load_source(order.op, catalog.definition(order.op).reference[framework].split("::")[0])


def open_workspace(folder: Path, ledger: Ledger) -> WorkspaceRecord:
    """ValueError, in one line, when what is fixed was edited since the workspace was made."""
    try:
        record = read_record(folder / RECORD, WorkspaceRecord)
    except ValueError as error:
        again = f"autoresearch lab init OP --workspace {folder} --refresh"
        raise ValueError(f"{error}. With the name of its op, this makes it again and keeps {KERNEL}: {again}") from None
    again = f"autoresearch lab init {record.op} --workspace {folder} --refresh"
    if changed := edited(record.fixed, record.op):
        raise ValueError(
            f"{changed[0]} is not what it was when the workspace {folder} was made: restore it "
            f"(git checkout {changed[0]}), or, where an update changed it, {again}"
        )
    known = [e for e in ledger.read() if e.kind is EventKind.INIT and e.candidate == str(folder)]
    if not known or known[-1].fixed_sha256 != digest(record.fixed) or known[-1].op != record.op:
        raise ValueError(f"{folder / RECORD} is not what `lab init` wrote: {again}")
    return record
