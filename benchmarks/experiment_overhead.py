"""What an experiment costs beside training and evaluation, caches warm: `python benchmarks/experiment_overhead.py`.

Process starts, imports, build, warm-up, the final checkpoint and records take the same time whatever the budget, so
they are measured on a short one and compared with 300 s (goal: <= 1.5 %). An evaluation is compared with scoring alone
(goal: 1.3 times). The first run warms the caches and is left out.
"""

import argparse
from statistics import median

from shared.contracts import RunResult
from shared.experiment.request import TrainRequest, build_job
from shared.experiment.run import run
from shared.runs.directory import RunDirectory
from shared.stages.executors import NativeExecutor

BUDGET_S = 300.0
GOAL, EVALUATION_GOAL = 0.015, 1.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="m5-tiny")
    parser.add_argument("--dataset", default="stdlib")
    parser.add_argument("--seconds", type=float, default=10.0, help="training budget of the measured runs")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    request = TrainRequest(
        preset=arguments.preset, dataset=arguments.dataset, time_budget=arguments.seconds, rung="cheap"
    )  # fmt: skip
    rows = [measure(request) for _ in range(arguments.repeats + 1)][1:]
    report(rows)


def measure(request: TrainRequest) -> dict[str, float]:
    """Seconds of one experiment by where they went."""
    job, source = build_job(request)
    result: RunResult = run(job, source, NativeExecutor(poll_s=0.05))
    directory = RunDirectory.of(job.run_id)
    training, evaluation = directory.training(), directory.evaluation()
    if training is None or evaluation is None or result.val_bpb is None:
        raise SystemExit(f"the experiment ended as {result.status}: {result.reason}")
    outside = result.total_seconds - training.training_seconds - evaluation.total_seconds
    return {
        "start-up and warm-up": training.startup_seconds,
        "final checkpoint": training.finish_seconds,
        "processes and records": outside - training.startup_seconds - training.finish_seconds,
        "outside training and evaluation": outside,
        "evaluation (cheap rung, with audit)": evaluation.total_seconds,
        "of it scoring alone": evaluation.eval_seconds,
    }


def report(rows: list[dict[str, float]]) -> None:
    for name in rows[0]:
        seconds = median(row[name] for row in rows)
        spread = ", ".join(f"{row[name]:.2f}" for row in rows)
        print(f"{name:<38} {seconds:7.2f} s   ({spread})")
    outside = median(row["outside training and evaluation"] for row in rows)
    share = outside / (outside + BUDGET_S)
    print(f"share of a {BUDGET_S:g} s experiment outside training and evaluation: {share:.2%} (goal <= {GOAL:.1%})")
    times = median(row["evaluation (cheap rung, with audit)"] / row["of it scoring alone"] for row in rows)
    print(f"an evaluation takes {times:.2f} times as long as scoring alone (goal <= {EVALUATION_GOAL})")


if __name__ == "__main__":
    main()
