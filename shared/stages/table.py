"""The stages: one row for each service that runs as a stage of its own. Adding one is a row here, its folder in
services/ and its block in compose/compose.yaml; executors, staging, spools, watchers, the queue, images and the
device of each target follow.

`python -m services.<folder> ARGUMENTS` is the whole of a stage. Where files are staged the first argument is the run
directory. Imports nothing but the standard library, so that images and compose can read it.
"""

import sys
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Stage:
    name: str
    """of its folder in services/ (with _ for -), of its service in compose/, of its folder in a spool"""
    image: Literal["worker", "executor"]
    """images/<image>/Dockerfile; the executor's is built for each target (shared/machine/targets.py)"""
    activity: str
    """what people are told while it runs"""
    staged_in: tuple[str, ...] = ()
    """files of the run directory it gets a copy of, the last of them last; none: it works on no run directory"""
    staged_out: tuple[str, ...] = ()
    """what comes back of what it wrote; the record that says the rest is there stands last"""
    runs_untrusted_code: bool = False
    """no network in containers, and no start where there is no sandbox"""
    needs_device: bool = False
    places_stages: bool = False
    """it places experiments itself, as the worker does, and looks who else computes on the device"""
    job_function: str | None = None
    """in services/worker/jobs.py, for jobs that ask for this stage"""

    @property
    def folder(self) -> str:
        """in services/"""
        return self.name.replace("-", "_")

    @property
    def has_run(self) -> bool:
        return bool(self.staged_in)

    @property
    def counts_steps(self) -> bool:
        """Its progress can be read from the telemetry that it writes."""
        return "metrics.jsonl" in self.staged_out


STAGES: tuple[Stage, ...] = (
    Stage("prepare", image="worker", activity="packing rows", job_function="prepare"),
    Stage(
        "calibrator",
        image="worker",
        activity="calibrating",
        places_stages=True,
        job_function="calibrate",
    ),
    Stage(
        "trainer",
        image="executor",
        activity="warming up",
        staged_in=("recipe.py", "kernels", "metrics.jsonl", "checkpoint", "job.json"),
        staged_out=("output.log", "metrics.jsonl", "checkpoint", "training.json"),
        runs_untrusted_code=True,
        needs_device=True,
        job_function="train",
    ),
    Stage(
        "evaluator",
        image="executor",
        activity="evaluating",
        staged_in=("recipe.py", "kernels", "training.json", "checkpoint", "job.json"),
        staged_out=("evaluation.json",),
        runs_untrusted_code=True,
        needs_device=True,
    ),
    Stage(
        "kernel-lab",
        image="executor",
        activity="at work in the kernel lab",
        runs_untrusted_code=True,
        needs_device=True,
        job_function="lab",
    ),
)


def find_stage(name: str) -> Stage:
    for stage in STAGES:
        if stage.name == name:
            return stage
    raise ValueError(f"unknown stage '{name}': choose one of {', '.join(stage.name for stage in STAGES)}")


def job_path(function: str) -> str:
    """How a job names a function of services/worker/jobs.py."""
    return f"services.worker.jobs.{function}"


if __name__ == "__main__":  # for Dockerfiles: the stages of one image, a line each
    print(*(stage.name for stage in STAGES if stage.image in sys.argv[1:]), sep="\n")
