"""Whole calibrations on simulated machines: every phase is the real one, only trainer and evaluator are formulas.

Not a test. What it prints of each machine: *regret*, how far the shape that was chosen is above the best on offer after
300 s, in percent of its val_bpb, after the search, after confirming and in the end, mean and median over seeds with
90 % bootstrap intervals; how the default compares with the presets, each trained 300 s at its own shape; how often
which confidence; and how often the true val_bpb is within one and two of the +- that the default states.
Run: OMP_NUM_THREADS=1 python -m benchmarks.whole_calibrations [--seeds 20] [--machines laptop ...] [--keep FILE]
A calibration takes about a second of one core; with --keep a later run goes on where one was ended.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.calibration import OFFERED, TARGET_S, VOCABULARY, options, run_seeds, space_of
from benchmarks.simulated_machines import EVAL_SPEEDUP, SimulatedMachine, World, simulated
from benchmarks.simulated_stages import SimulatedStages, scored, trained
from services.calibrator.calibrate import calibrate
from services.calibrator.findings import Findings
from shared.calibration.job import DEFAULT_MINUTES, CalibrateJob, Calibration, Mode
from shared.contracts import EvaluationRecord, Job, PrepareJob, Rung, Shape, Status, TrainingRecord
from shared.data.dataset import Manifest, SplitCounts, dataset_fingerprint, datasets_directory, open_dataset
from shared.evaluation.rungs import RUNG_TOKENS, eval_signature
from shared.experiment.platform_default import PlatformDefault
from shared.files import sha256_bytes, sha256_file, write_atomic
from shared.quality import QualityRow, published_rows
from shared.runs.shipped import default_recipe
from shared.settings import settings

MACHINES = ("two-cores", "eight-cores", "laptop", "noisy-laptop", "small-board", "cliff", "old-gpu")
CORPUS = "simulated"
COMPILING = 3.0
"""times the start-up of a run that is not compiled"""
WARM_UP = {True: 3, False: 1}
"""steps before the clock, compiled and not (services/trainer/warmup.py)"""
OPENING = 0.5
"""of training's start-up, that opening the engine to score takes"""
AUDIT = 0.3
"""of scoring; probes on their own rung go without"""
ANOTHER_TEXT = 5000
"""from a world's seed to that of the world whose runs stand for the published ones"""
Result = dict[str, Any]


@dataclass
class MachineStages(SimulatedStages):
    machine: SimulatedMachine | None = None

    @property
    def simulated(self) -> SimulatedMachine:
        assert self.machine
        return self.machine

    def training(self, job: Job) -> TrainingRecord | None:
        machine, shape = self.simulated, job.shape
        failure, random = machine.failure(shape), self._luck(job)
        if failure is Status.TIMED_OUT:
            return None
        compiled = job.compile not in ("auto", "off")
        startup_s = machine.hardware.startup_s * random.uniform(0.9, 1.2) * (COMPILING if compiled else 1)
        if failure:
            return TrainingRecord(status=failure, reason="simulated", startup_seconds=startup_s)
        speed = machine.tok_per_sec(shape) * random.normal(1, 0.004)
        startup_s += WARM_UP[compiled] * shape.total_batch_size / speed
        budget_s = float(job.budget.seconds or 0)
        return trained(shape, speed, budget_s, startup_s=startup_s, memory_mb=machine.memory_of(shape))

    def evaluation(self, job: Job, training: TrainingRecord, rung: Rung) -> EvaluationRecord:
        machine = self.simulated
        learned = machine.bpb_after(job.shape, training.total_tokens, rung)
        eval_s = RUNG_TOKENS[rung] / (EVAL_SPEEDUP * machine.tok_per_sec(job.shape))
        audit_s = 0.0 if rung is Rung.PROBE else AUDIT * eval_s
        noise = self._luck(job).normal(0, machine.hardware.noise)
        total_s = OPENING * machine.hardware.startup_s + eval_s + audit_s
        return scored(job, rung, learned + noise, eval_s=eval_s, total_s=total_s)

    def _luck(self, job: Job) -> np.random.Generator:
        """Of a run: whatever it is scored on, it has learned what it has."""
        return self.simulated.random(f"{job.shape.model_dump_json()} {job.seed} {job.budget.seconds} {job.compile}")


@contextmanager
def own_home() -> Iterator[Path]:
    """A home and runs of their own, with a dataset that nobody reads."""
    with tempfile.TemporaryDirectory() as place, patch.dict(os.environ, ARE_HOME=place, ARE_RUNS=f"{place}/runs"):
        settings.cache_clear()
        tokenizer = sha256_bytes(b"tokenizer")
        manifest = Manifest(
            name=CORPUS, corpus=CORPUS, shards=(), tokenizer=tokenizer, vocab_size=VOCABULARY, packing_version=1,
            train=SplitCounts(num_documents=10**6, num_tokens=10**9),
            validation=SplitCounts(num_documents=10**5, num_tokens=10**8),
            fingerprint=dataset_fingerprint(CORPUS, (), tokenizer, 1), job=PrepareJob(corpus="stdlib"), prepared_at=0.0,
        )  # fmt: skip
        folder = datasets_directory() / CORPUS
        folder.mkdir(parents=True)
        write_atomic(folder / "dataset.json", manifest.model_dump_json())
        yield Path(place)
    settings.cache_clear()


def asked_of(machine: SimulatedMachine, mode: Mode, minutes: float) -> Calibration:
    return Calibration(
        mode=mode, minutes=minutes, presets=tuple(OFFERED), target_seconds=TARGET_S, engine="torch", device="cpu",
        target="cpu", hardware_key=f"simulated-{machine.hardware.name}", architecture="cpu", driver_version="1",
        framework="torch 1.0", memory_mb=machine.memory_mb, dataset=open_dataset(CORPUS).ref,
        recipe_sha=sha256_file(default_recipe("torch")), eval_signature=eval_signature(),
    )  # fmt: skip


def published(world: World) -> tuple[QualityRow, ...]:
    """The published runs as they would be in that world: the real ones are of no simulated one."""
    return tuple(
        row.model_copy(update={"val_bpb": world.bpb(row.shape, row.num_tokens)}) for row in published_rows()
    )  # fmt: skip


def calibrated(
    machine: SimulatedMachine, mode: Mode, minutes: float, *, misled: bool = False
) -> tuple[PlatformDefault, Findings, float]:
    """Its default, what its phases found, and the seconds that it took by its clock. Without the report, and without
    a look at the recipe, which is the same each time."""
    found: list[Findings] = []
    elsewhere = published_rows() if misled else published(World(machine.world.seed + ANOTHER_TEXT))
    with (
        own_home() as home,
        patch("services.calibrator.calibrate.report", lambda _, findings, __: found.append(findings)),
        patch("services.calibrator.known_rows.published_rows", lambda: elsewhere),
        patch("shared.runs.directory.check_knowledge"),
    ):
        stages = MachineStages(machine=machine)
        job = CalibrateJob(calibration=asked_of(machine, mode, minutes), folder=home / "calibration")
        return calibrate(job, stages, now=stages.clock), found[0], stages.clock.seconds


def judged(name: str, seed: int, mode: Mode, minutes: float, *, misled: bool = False) -> Result:
    """What a calibration came to beside what the machine really is; fractions of the best val_bpb on offer."""
    machine = simulated(name, seed)
    default, found, seconds = calibrated(machine, mode, minutes, misled=misled)
    truth = partial(machine.bpb, seconds=TARGET_S)
    best = min(map(truth, space_of(machine).candidates))
    stages: dict[str, Shape | None] = {
        "search": found.search.ranked[0].shape if found.search and found.search.ranked else None,
        "confirm": found.confirm.chosen.shape if found.confirm and found.confirm.chosen else None,
        "end": default.shape,
    }
    on_rung = machine.bpb(default.shape, TARGET_S, default.rung)
    return {
        "regret": {stage: truth(shape or default.shape) / best - 1 for stage, shape in stages.items()},
        "presets": {preset: truth(shape) / best - 1 for preset, shape in OFFERED.items()},
        "noise": machine.hardware.noise / best,
        "confidence": str(default.confidence),
        "sigmas": abs(default.val_bpb - on_rung) / default.spread if default.val_bpb and default.spread else None,
        "rung": str(found.prior.rung) if found.prior else "",
        "confirm s": found.confirm.seconds if found.confirm else 0.0,
        "models": [default.family, min(OFFERED, key=lambda preset: truth(OFFERED[preset]))],
        "seconds": seconds,
    }


def interval(values: np.ndarray, of: Callable[..., Any]) -> str:
    """In percent, with its 90 % bootstrap interval."""
    drawn = of(np.random.default_rng(0).choice(values, (2000, len(values))), axis=1)
    low, high = np.quantile(drawn, (0.05, 0.95))
    return f"{100 * of(values):5.2f} [{100 * low:5.2f}, {100 * high:5.2f}]"


def report(title: str, results: list[Result]) -> None:
    print(f"\n{title}: {len(results)} calibrations, probes scored on {_counts([one['rung'] for one in results])}")
    for stage, says in (("search", "after the search"), ("confirm", "after confirming"), ("end", "in the end")):
        values = np.array([one["regret"][stage] for one in results])
        print(f"  regret % {says:17} mean {interval(values, np.mean)}  median {interval(values, np.median)}")
    for preset in results[0]["presets"]:
        report_beside(preset, results, [one["presets"][preset] for one in results])
    report_beside("the best preset", results, [min(one["presets"].values()) for one in results])
    print(f"  confidence {_counts([one['confidence'] for one in results])}")
    sigmas = np.array([one["sigmas"] for one in results if one["sigmas"] is not None])
    print(f"  val_bpb within 1 and 2 of its +-: {np.mean(sigmas < 1):.0%}, {np.mean(sigmas < 2):.0%}", flush=True)


def report_beside(title: str, results: list[Result], others: list[float]) -> None:
    """The default beside choices whose regrets are given: better or worse by more than the noise of two runs."""
    apart = np.array([one["regret"]["end"] for one in results]) - others
    noise = np.array([2**0.5 * one["noise"] for one in results])
    better, worse = np.mean(apart < -noise), np.mean(apart > noise)
    print(f"  beside {title:15} better {better:4.0%}  worse {worse:4.0%}  by {interval(apart, np.mean)} %")


def _counts(values: list[str]) -> str:
    return ", ".join(f"{value} {count / len(values):.0%}" for value, count in Counter(values).most_common())


def main() -> None:
    parser = options(__doc__, MACHINES)
    parser.add_argument("--mode", choices=("fast", "full"), default="fast")
    parser.add_argument("--minutes", type=float, help="of each calibration; without it the mode's")
    parser.add_argument("--misled", action="store_true", help="published runs are the real ones, of no simulated world")
    asked = parser.parse_args()
    minutes = asked.minutes or DEFAULT_MINUTES[asked.mode]
    run_seeds(asked, partial(judged, mode=asked.mode, minutes=minutes, misled=asked.misled), report)


if __name__ == "__main__":
    main()
