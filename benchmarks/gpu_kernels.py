"""Sections of `make test-gpu` about kernels: proved and timed by the kernel lab, compared in the trainer, and the
estimates of benchmarks/estimates.jsonl beside what is measured here.

Not run by itself: benchmarks/gpu_validation.py calls it.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.estimate_rows import OURS, TRITON, TRITON_KERNELS, Row, read_rows
from kernels import catalog
from services.kernel_lab.estimate.roofline import model_of
from shared.contracts import Shape
from shared.machine.gpus import find_device
from shared.settings import CHECKOUT

RUN = "from services.console.main import main; main()"
BEST = 2
Cells = list[Any]
Answers = dict[str, dict[str, Any]]


def lab(*arguments: str) -> dict[str, Any]:
    """What `autoresearch lab ... --json` answers; its message as a headline where it refuses."""
    argv = [sys.executable, "-c", RUN, "lab", *arguments, "--json"]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError:
        return {
            "status": "refused",
            "headline": (done.stderr.strip().splitlines() or ["nothing"])[-1][:200],
            "data": {},
        }
    return answer


def triton_kernels() -> list[str]:
    return [one.name for op in catalog.ops() for one in catalog.solutions(op) if "/triton_" in one.name]


def bench_all(device: str, names: Sequence[str]) -> Answers:
    """Each is verified first; what is not right is not timed."""
    answers = {}
    for name in names:
        verified = lab("verify", name, "--device", device)
        answers[name] = lab("bench", name, "--device", device) if verified["status"] == "ok" else verified
    return answers


def kernel_rows(answers: Answers) -> list[Cells]:
    """kernel, status, ms compiled, speed-up eager and compiled, share of the device's limit, what was said."""
    rows = []
    for name, answer in answers.items():
        bouts = answer["data"].get("bouts", {})
        compiled, limit = bouts.get("compiled"), answer["data"].get("limit_s")
        seconds = compiled["candidate_s"]["value"] if compiled else None
        rows.append(
            [
                name,
                answer["data"].get("status", answer["status"]),
                f"{1e3 * seconds:.4f}" if seconds else "-",
                *(
                    f"{bouts[mode]['speedup']['value']:.2f}x" if mode in bouts else "-"
                    for mode in ("eager", "compiled")
                ),
                f"{limit / seconds:.0%}" if limit and seconds else "-",
                "" if bouts else answer["headline"],
            ]
        )
    return rows


def best(answers: Answers) -> list[str]:
    """Those that are fastest beside the plain op, compiled."""
    faster = {
        name: bouts["compiled"]["speedup"]["value"]
        for name, answer in answers.items()
        if (bouts := answer["data"].get("bouts", {})).get("compiled", {}).get("verdict") == "faster"
    }
    return sorted(faster, key=lambda name: -faster[name])[:BEST]


def integration_rows(device: str, names: Sequence[str]) -> list[Cells]:
    """kernel, verdict, what was said."""
    found = []
    for name in names:
        answer = lab("integration-ab", name, "--device", device, "--preset", "m5-balanced", "--dataset", "stdlib")
        found.append([name, answer["data"].get("verdict", answer["status"]), answer["headline"]])
    return found


Measure = Callable[[Shape, Mapping[str, str]], tuple[float, float]]


def estimate_lines(target: str, measure: Measure) -> list[Cells]:
    """preset, batch, loop, tok/s measured, estimated, error, MB measured, estimated. measure: -> tok/s and MB."""
    rows = [row for row in read_rows().values() if row.target == target and row.loop in (OURS, TRITON)]
    return [_beside(row, measure) for row in rows]


def _beside(row: Row, measure: Measure) -> Cells:
    model = model_of(find_device(row.target))
    expected = row.tokens_per_s(model.bandwidth, model.peak)
    named = [row.preset, f"{row.device_batch_size} / {row.total_batch_size:,}", row.loop]
    try:
        speed, memory_mb = measure(row.case.shape, TRITON_KERNELS if row.loop == TRITON else {})
    except Exception as error:  # one that does not fit or compile is a line of the table
        return [
            *named,
            f"{type(error).__name__}: {str(error)[:80]}",
            f"{expected:,.0f}",
            "-",
            "-",
            f"{row.memory_mb:,.0f}",
        ]
    off = f"{100 * (expected / speed - 1):+.1f} %"
    return [*named, f"{speed:,.0f}", f"{expected:,.0f}", off, f"{memory_mb:,.0f}", f"{row.memory_mb:,.0f}"]
