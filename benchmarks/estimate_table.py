"""Every preset's training step on GPUs that nobody needs to have here, estimated, and its kernels compiled for each.

    python -m benchmarks.estimate_table                        (make estimate)
    python -m benchmarks.estimate_table --upstream /tmp/upstream --preset m5-balanced --target gb10 h100

Rows are kept in benchmarks/estimates.jsonl. One that is missing or stale is computed, which takes 20 to 60 s; --minutes
ends that early and names what is stale. The tables are printed, and written into docs/performance.md. Rows of
upstream's loop (karpathy/autoresearch) and of the MLX port (trevin-creator/autoresearch-mlx) need a checkout of it;
without one, those that were kept are shown. Exit code 1 when a Triton kernel does not compile.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import estimate_tables as tables
from benchmarks.estimate_rows import (
    OURS,
    STORE,
    TRITON,
    TRITON_KERNELS,
    UPSTREAM,
    Case,
    Row,
    changed,
    made_of,
    make_row,
    read_rows,
    write_rows,
)
from benchmarks.port_recipe import port_recipe
from benchmarks.upstream_recipe import upstream_recipe
from services.kernel_lab.estimate.estimate import estimate
from shared.experiment.presets import PRESETS
from shared.kernel_lab.estimate import EstimateRequest, Side
from shared.machine.gpus import MAC
from shared.runs.shipped import default_recipe
from shared.settings import CHECKOUT

TARGETS = ("h100", "gb10", "rtx50", "a100", "b200", MAC.target)
PAGE = CHECKOUT / "docs" / "performance.md"


@dataclass(frozen=True)
class Sources:
    """Where other people's training loops are, if they are."""

    upstream: Path | None
    port: Path | None
    folder: Path
    """for recipe files made of them"""

    def foreign(self, case: Case) -> Path | None:
        """Their train.py, for a row of their loop."""
        checkout = self.port if case.target == MAC.target else self.upstream
        return checkout / "train.py" if case.loop == UPSTREAM and checkout else None

    def here(self, case: Case) -> bool:
        return case.loop != UPSTREAM or self.foreign(case) is not None

    def side(self, case: Case) -> Side:
        kernels = TRITON_KERNELS if case.loop == TRITON else {}
        foreign = self.foreign(case)
        if foreign is None:
            recipe = default_recipe("mlx" if case.target == MAC.target else "torch")
            return Side(name=case.loop, recipe=recipe, kernels=kernels)
        recipe = self.folder / ("port_recipe.py" if case.target == MAC.target else "upstream_recipe.py")
        return Side(name=case.loop, recipe=recipe)

    def write_recipes(self) -> None:
        if self.upstream:
            text = upstream_recipe(self.upstream / "train.py")
            (self.folder / "upstream_recipe.py").write_text(text, encoding="utf-8")
        if self.port:
            (self.folder / "port_recipe.py").write_text(port_recipe(self.port / "train.py"), encoding="utf-8")


def main() -> int:
    arguments = parse_arguments()
    cases = [case for target in arguments.target for preset in arguments.preset for case in loops(target, preset)]
    rows = read_rows()
    with TemporaryDirectory() as folder:
        sources = Sources(arguments.upstream, arguments.port, Path(folder))
        sources.write_recipes()
        due = [case for case in cases if sources.here(case) and (arguments.again or why_due(case, rows, sources))]
        compute(due, rows, sources, arguments.minutes, arguments.workers)
        shown = {case: rows[case] for case in cases if case in rows}
        print("\n\n".join(tables.all_tables(shown).values()))
        print("\n".join(["", *stale_lines(cases, rows, sources)]))
    PAGE.write_text(tables.refreshed(PAGE.read_text(encoding="utf-8"), rows), encoding="utf-8")
    return int(any(row.failed for row in shown.values()))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", nargs="+", default=list(PRESETS), choices=list(PRESETS), metavar="PRESET")
    parser.add_argument("--target", nargs="+", default=TARGETS, choices=(*tables.ORDER, MAC.target), metavar="TARGET")
    parser.add_argument("--upstream", type=Path, help="a checkout of karpathy/autoresearch")
    parser.add_argument("--port", type=Path, help="a checkout of trevin-creator/autoresearch-mlx")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no row later than this")
    parser.add_argument("--workers", type=int, default=min(4, os.cpu_count() or 1), help="rows at a time")
    parser.add_argument("--again", action="store_true", help="compute rows that are not stale, too")
    return parser.parse_args()


def loops(target: str, preset: str) -> list[Case]:
    """Upstream's comes first: others are compared with it. On a Mac it is the MLX port's."""
    names = (UPSTREAM, OURS) if target == MAC.target else (UPSTREAM, OURS, TRITON)
    return [Case(target, preset, name) for name in names]


def why_due(case: Case, rows: dict[Case, Row], sources: Sources) -> list[str]:
    """Empty when the row is as it would be computed now."""
    if case not in rows:
        return ["it was never computed"]
    return [f"{name} changed" for name in changed(rows[case], made_of(case, sources.foreign(case)))]


def compute(due: Sequence[Case], rows: dict[Case, Row], sources: Sources, minutes: float, workers: int) -> None:
    """Into `rows` and the store, each when it is done."""
    last_start = time.monotonic() + 60 * minutes

    def computed(case: Case) -> Row | None:
        return estimated(case, sources) if time.monotonic() < last_start else None

    with ThreadPoolExecutor(workers) as pool:
        for case, row in zip(due, pool.map(computed, due), strict=True):
            if row is not None:
                rows[case] = row
                write_rows(rows, STORE)
                print(f"{case.target} {case.preset}, {case.loop}: computed", file=sys.stderr, flush=True)


def estimated(case: Case, sources: Sources) -> Row:
    request = EstimateRequest(
        sides=(sources.side(case),),
        shape=case.shape,
        target=case.target,
        compile_kernels=case.target != MAC.target,
        answer=sources.folder / f"{case.target}-{case.preset}-{case.loop}.json",
    )
    found = estimate(request)
    return make_row(case, found.architecture, found.sides[0], made_of(case, sources.foreign(case)))


def stale_lines(cases: Sequence[Case], rows: dict[Case, Row], sources: Sources) -> list[str]:
    """What the tables show although it is not as it would be now, or do not show."""
    lines = []
    for case in cases:
        if not sources.here(case):
            continue
        if why := why_due(case, rows, sources):
            lines.append(f"- {case.target} {case.preset}, {case.loop}: {', '.join(why)}")
    kept = [case for case in cases if not sources.here(case) and case in rows]
    if lines:
        lines.insert(0, f"{len(lines)} of {len(cases)} rows are stale or missing; make estimate computes them:")
    if kept:
        lines.append(f"{len(kept)} rows of other people's loops were kept: no checkout was given to compare them with.")
    return lines or [f"All {len(cases)} rows are as they would be computed now."]


if __name__ == "__main__":
    sys.exit(main())
