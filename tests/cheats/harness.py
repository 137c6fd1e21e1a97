"""Runs adversarial recipes on the real system and judges them by their result.json alone.

    python -m tests.cheats.harness                  every recipe, a table at the end
    python -m tests.cheats.harness clock courier/   those whose name contains one of the words

A recipe is one file below recipes/, put together from honest.py, the tools it names and itself. Constants at its
top order what it needs: SECONDS or TOKENS (the budget), RUNS (how often it runs, the last one is judged), PREVIOUS
(replaced by the folder of the run before), PRETRAINED and PADDING (by weights trained elsewhere and 9 MB of dots),
RANK (how many numbers for each token BEGINNING is replaced by, of the product of those weights),
ANSWER_ROWS (how many rows of validation text ANSWERS is replaced by),
TOLD_ROWS (how many of them the job says), TOLD_IN (where: its window_pattern, or the diff of its idea),
UNREAD (the kernel is asked to forget large libraries before the first run, as if nobody had read them since the
machine started),
KERNEL (a file of kernels/ that `autoresearch lab promote` would have left there, with such weights as text),
EVAL_BATCH, CURVE_POINTS and CHECKPOINT_EVERY (settings of the run), RESUMES (how often it is resumed after it ended).
"""

import ast
import base64
import json
import lzma
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Any

import psutil

from shared.contracts import IdeaRef, Rung, RunResult, Unranked
from shared.evaluation.rungs import rows_for
from shared.experiment.identity import idea_id
from shared.experiment.request import TrainRequest, build_job
from shared.experiment.run import resume, run
from shared.files import sha256_bytes
from shared.kernel_lab.job import LARGEST_CANDIDATE_BYTES
from shared.runs.directory import RunDirectory
from shared.settings import CHECKOUT
from shared.stages.executors import NativeExecutor
from tests.cheats.corpus import NAME, cached_home, environment
from tests.cheats.kernel_channels import large_libraries
from tests.unread_files import forget

HERE = Path(__file__).parent
RECIPES, FAIR, UNMENDED = HERE / "recipes", HERE / "fair", HERE / "unmended"
SECONDS = 3.0
HONEST_SECONDS = 10.0
"""long enough for all updates of honest.py on a busy machine; it makes no more of them in a longer time"""
GAIN_ALLOWED = 0.01
LONGEST_RUN_S = 150.0
PADDING_BYTES = 9_000_000
LONGEST_STRING, LARGEST_NUMBER = 600, 1e15
FOR_US_TO_SAY = ("sandbox", "process isolation", "text coverage", "validation rows", "dataset")
OWN_IMPORT = re.compile(r"^from tests\.cheats\.(\w+) import (?:\([^)]*\)|.*)\n", re.MULTILINE)
SHAPE = {
    "seq_len": "256", "depth": "1", "d_model": "32", "heads": "1", "device_batch_size": "8",
    "total_batch_size": "2048", "dtype": "fp32", "compile": "off", "eval_batch_size": "8",
}  # fmt: skip
LIMITS = {"ARE_STARTUP_TIMEOUT_S": "60", "ARE_EVAL_TIMEOUT_S": "60"}


@dataclass(frozen=True)
class Case:
    path: Path
    orders: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "Case":
        return cls(path, _constants(path.read_text()))

    @property
    def family(self) -> str:
        return self.path.parent.name

    @property
    def name(self) -> str:
        return f"{self.family}/{self.path.stem}"

    def source(self, previous: str = "") -> bytes:
        """One file, as it would come from an agent."""
        text = _joined(self.path.read_text())
        text = text.replace('PREVIOUS = ""', f"PREVIOUS = {previous!r}")
        if "PRETRAINED" in self.orders:
            text = text.replace('PRETRAINED = ""', f"PRETRAINED = {pretrained()!r}")
            text = text.replace('PADDING = ""', f"PADDING = {'.' * PADDING_BYTES!r}")
        if "RANK" in self.orders:
            text = text.replace('BEGINNING = ""', f"BEGINNING = {beginning(self.orders['RANK'])!r}")
        if "ANSWER_ROWS" in self.orders:
            text = text.replace('ANSWERS = ""', f"ANSWERS = {answers(self.orders['ANSWER_ROWS'])!r}")
        return text.encode()


@dataclass(frozen=True)
class Outcome:
    case: str
    status: str
    ranked: bool = False
    val_bpb: float | None = None
    """as ranked where the source is the attack; else without its charge, so that no gain hides behind that"""
    reason: str = ""
    stains: tuple[str, ...] = ()
    """what else came of it: processes that outlived it, text or numbers in the record that no reader can trust"""
    seconds: float = 0.0

    def gain(self, honest: float) -> float:
        return honest - self.val_bpb if self.val_bpb is not None else 0.0

    def got_through(self, honest: float) -> bool:
        wins = self.status == "ok" and self.ranked and self.gain(honest) > GAIN_ALLOWED
        return wins or bool(self.stains)

    def row(self, honest: float) -> str:
        bpb = f"{self.val_bpb:.4f}" if self.val_bpb is not None else "-"
        verdict = "GOT THROUGH" if self.got_through(honest) else "held"
        said = "; ".join((*self.stains, self.reason))[:110]
        return (
            f"{self.case:<44} {self.status:<13} {bpb:>7} {honest:.4f} {self.gain(honest):>8.4f} {verdict:<11} "
            f"{self.seconds:4.0f}s  {said}"
        )


def cases(folder: Path = RECIPES) -> list[Case]:
    return [Case.read(path) for path in sorted(folder.glob("*/*.py"))]


def _constants(text: str) -> dict[str, Any]:
    found = {}
    for node in ast.parse(text).body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.targets[0], ast.Name)
        ):
            found[node.targets[0].id] = node.value.value
    return found


def _joined(text: str) -> str:
    """The file behind honest.py and the tools it imports, without the imports from this folder."""
    parts: dict[str, str] = {}

    def add(piece: str) -> str:
        for name in OWN_IMPORT.findall(piece):
            if name not in parts:
                parts[name] = ""
                parts[name] = add((HERE / f"{name}.py").read_text())
                parts[name] = parts.pop(name)  # behind what it needs itself
        return OWN_IMPORT.sub("", piece)

    own = add("from tests.cheats.honest import Recipe\n" + text)
    return "\n\n".join((*parts.values(), own))


class Range:
    """Where recipes are shot at: a home with the dataset, a folder of runs for each case."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.home = cached_home(folder)
        self._honest: dict[str, float] = {}

    def honest(self, case: Case) -> float:
        """What the honest recipe gets, whose number does not depend on the seconds; measured once."""
        budget = {"TOKENS": case.orders["TOKENS"]} if "TOKENS" in case.orders else {"SECONDS": HONEST_SECONDS}
        key = json.dumps(budget)
        if key not in self._honest:
            outcome = self.try_out(Case(FAIR / "plain" / "plain.py", budget))
            assert outcome.val_bpb is not None, f"the honest recipe ended {outcome.status}: {outcome.reason}"
            self._honest[key] = outcome.val_bpb
        return self._honest[key]

    def try_out(self, case: Case) -> Outcome:
        runs = Path(tempfile.mkdtemp(prefix=case.name.replace("/", "-") + "-", dir=self.folder))
        outcome, previous = Outcome(case.name, "not run"), ""
        with environment(ARE_HOME=str(self.home), ARE_RUNS=str(runs), **LIMITS), planted(case):
            for _ in range(case.orders.get("RUNS", 1)):
                outcome, previous = _one_run(case, previous)
        return replace(outcome, stains=(*outcome.stains, *_survivors(runs)))


def _one_run(case: Case, previous: str) -> tuple[Outcome, str]:
    """The outcome and the folder of the run. What run() raises is the system's refusal to give a result."""
    if case.orders.get("UNREAD") and not previous:
        for library in large_libraries():
            forget(Path(library))
    started = monotonic()
    try:
        job, source = _job(case, previous)
    except ValueError as refusal:
        return Outcome(case.name, "refused", reason=str(refusal), seconds=monotonic() - started), previous
    directory = RunDirectory.of(job.run_id)
    try:
        result = run(job, source, NativeExecutor(), _watch(started + LONGEST_RUN_S))
        for _ in range(case.orders.get("RESUMES", 0)):
            result = resume(directory, NativeExecutor(), _watch(started + LONGEST_RUN_S))
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        hung = (f"hung for {LONGEST_RUN_S:g} s",) if isinstance(error, TimeoutError) else ()
        outcome = Outcome(case.name, "no result", reason=reason, stains=hung, seconds=monotonic() - started)
        return outcome, str(directory.path)
    record = json.loads(directory.result_file.read_text())
    outcome = Outcome(
        case.name, str(result.status), _is_ranked(result), _number(case, directory), result.reason,
        (*_stains(record), *_forgeries(directory)), monotonic() - started,
    )  # fmt: skip
    return outcome, str(directory.path)


def _number(case: Case, directory: RunDirectory) -> float | None:
    evaluation = directory.evaluation()
    if evaluation is None or evaluation.val_bpb is None or {"ANSWER_ROWS", "RANK", "KERNEL"} & case.orders.keys():
        return evaluation and evaluation.val_bpb
    return evaluation.val_bpb - evaluation.source_bpb


def _is_ranked(result: RunResult) -> bool:
    """Or would be on an idle machine: others who compute here must not hide that a cheat got through."""
    return set(result.unranked) <= {Unranked.BUSY_MACHINE}


def _job(case: Case, previous: str) -> tuple[Any, bytes]:
    source = case.source(previous)
    orders, tokens = case.orders, case.orders.get("TOKENS")
    batch = str(orders.get("EVAL_BATCH", SHAPE["eval_batch_size"]))
    asked = SHAPE | {"eval_batch_size": batch} | _told_in_settings(orders)
    request = TrainRequest(
        preset="m5-tiny", engine="torch", device="cpu", dataset=NAME, rung="cheap", tokens=tokens,
        set=asked, time_budget=None if tokens else orders.get("SECONDS", SECONDS), idea=_idea(orders, source, asked),
        curve_points=orders.get("CURVE_POINTS", 0), checkpoint_every=orders.get("CHECKPOINT_EVERY"),
    )  # fmt: skip
    return build_job(request, source)


def _told_in_settings(orders: dict[str, Any]) -> dict[str, str]:
    """A bit a letter."""
    if orders.get("TOLD_IN") != "window_pattern":
        return {}
    bits = "".join(f"{byte:08b}" for byte in packed_rows(orders["TOLD_ROWS"]))
    return {"window_pattern": bits.translate({ord("0"): "S", ord("1"): "L"})}


def _idea(orders: dict[str, Any], source: bytes, asked: dict[str, str]) -> IdeaRef | None:
    if orders.get("TOLD_IN") != "diff":
        return None
    told = base64.b85encode(packed_rows(orders["TOLD_ROWS"])).decode()
    return IdeaRef(id=idea_id(sha256_bytes(source), "m5-tiny", asked), diff=told)


def _watch(deadline: float) -> Callable[[str], None]:
    def watch(stage: str) -> None:
        if monotonic() > deadline:
            raise TimeoutError(f"{stage} still ran after {LONGEST_RUN_S:g} s, whatever the limits say")

    return watch


def _stains(record: dict[str, Any]) -> Iterator[str]:
    """Text and numbers that no trusted record may hold."""
    for path, value in _leaves(record):
        if isinstance(value, str) and not value.isprintable():
            yield f"{path} holds what is not printable: {value[:30]!r}"
        elif isinstance(value, str) and len(value) > LONGEST_STRING:
            yield f"{path} has {len(value)} characters"
        elif isinstance(value, int | float) and not abs(value) < LARGEST_NUMBER:
            yield f"{path} is {value}"
    if (record.get("mfu_percent") or 0) > 100:
        yield f"mfu_percent is {record['mfu_percent']:g}"


def _forgeries(directory: RunDirectory) -> Iterator[str]:
    """Claims of the recipe in places where a reader expects ours: choices marked FORGED, a curve nobody asked for."""
    result, evaluation = directory.result(), directory.evaluation()
    for choice in result.choices if result else ():
        if choice.reason == "FORGED" and (choice.what in FOR_US_TO_SAY or not choice.what.isascii()):
            yield f"a recipe says that {choice.what} is {choice.chosen}"
    curve = evaluation.curve if evaluation else ()
    if len(curve) > directory.job().curve_points:
        yield f"{len(curve)} points of a curve of {directory.job().curve_points}, at step {curve[-1].step}"


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield path, value
        return
    for key, inner in items:
        yield from _leaves(inner, f"{path}.{key}".lstrip("."))


def _survivors(runs: Path, num_looks: int = 10) -> list[str]:
    """Processes that carry this folder in their environment after the result is there; ended here.

    Looked for several times: a process that forks and exits in a chain is seen by luck.
    """
    found: dict[int, str] = {}
    for _ in range(num_looks):
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.pid != os.getpid() and process.environ().get("ARE_RUNS") == str(runs):
                    found[process.pid] = f"process {process.pid} outlived the run"
                    process.kill()
    return list(found.values())[:3]


@contextmanager
def planted(case: Case) -> Iterator[None]:
    """A kernel that is right, with as much text behind it as a kernel of the lab may have."""
    if "KERNEL" not in case.orders:
        yield
        return
    file = CHECKOUT / "kernels" / case.orders["KERNEL"]
    reference = file.with_name("torch_reference.py").read_text()
    file.write_text(f'{reference}\nNOTES = "{base64.b85encode(_weights()).decode()}"\n')
    assert file.stat().st_size <= LARGEST_CANDIDATE_BYTES
    try:
        yield
    finally:
        file.unlink()


def pretrained() -> str:
    """Weights that were trained for longer than any budget here, as text."""
    return base64.b64encode(_weights()).decode()


def _weights() -> bytes:
    import numpy as np

    return b"".join(p.detach().numpy().astype(np.float16).tobytes() for p in _trained().weights())


def beginning(rank: int) -> str:
    """The largest `rank` terms of their product, a number in four bits each, as text: embed, then head."""
    import numpy as np

    embed_VC, head_VC = (p.detach().numpy() for p in _trained().weights())
    product_VV = embed_VC @ head_VC.T
    left, sizes, right = np.linalg.svd(product_VV - product_VV.mean(axis=1, keepdims=True))
    both = np.concatenate([side[:, :rank] * np.sqrt(sizes[:rank]) for side in (left, right.T)]).ravel()
    scale = np.float32(np.abs(both).max() / 7)
    codes = (np.round(both / scale) + 7).astype(np.uint8)
    return base64.b85encode(scale.tobytes() + (codes[::2] << 4 | codes[1::2]).tobytes()).decode()


@cache
def _trained() -> Any:
    import numpy as np
    import torch

    from shared.data.dataset import open_dataset
    from tests.cheats.honest import Recipe

    rows = open_dataset(NAME).rows("train", 256)
    recipe = Recipe(None, open_dataset(NAME).vocab_size, 42, None)
    for step in range(250):
        recipe.update(torch.from_numpy(rows.read(8 * step, 8).astype(np.int64)))
    return recipe


def answers(num_rows: int) -> str:
    return base64.b85encode(packed_rows(num_rows)).decode()


@cache
def packed_rows(num_rows: int) -> bytes:
    """The first validation rows that the cheap rung scores, compressed."""
    from shared.data.dataset import open_dataset

    rows = open_dataset(NAME).validation_rows()
    chosen = rows.tokens[rows_for(Rung.CHEAP, rows.num_rows)[:num_rows]]
    return lzma.compress(chosen.tobytes(), preset=9)


def main(words: list[str]) -> None:
    folder, rows = tempfile.mkdtemp(prefix="cheats-"), []
    place = Range(Path(folder))
    for case in (*cases(), *cases(FAIR), *cases(UNMENDED)):
        if words and not any(word in case.name for word in words):
            continue
        outcome = place.try_out(case)
        is_fair = FAIR in case.path.parents
        rows.append(outcome.row(outcome.val_bpb or 0.0) if is_fair else outcome.row(place.honest(case)))
        print(rows[-1], flush=True)
    print(f"\n{sum('GOT THROUGH' in row for row in rows)} of {len(rows)} got through")
    subprocess.run(["rm", "-rf", folder], check=False)  # trees of any depth


if __name__ == "__main__":
    main(sys.argv[1:])
