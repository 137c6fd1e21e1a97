"""`autoresearch calibrate`: finds the shape that agents should start from on this machine, by measuring."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.console import calibration_view
from services.console.interruption import ends_like_ctrl_c
from services.console.packages import require
from shared.experiment.request import validated
from shared.settings import settings
from shared.stages.executors import NativeExecutor, raise_fault

if TYPE_CHECKING:
    from shared.calibration.job import CalibrateJob


def calibrate(
    mode: Annotated[str, typer.Option(help="fast takes about 10 minutes, full about an hour and is surer.")] = "fast",
    budget: Annotated[float | None, typer.Option(metavar="MINUTES", help="Instead of the mode's minutes.")] = None,
    presets: Annotated[
        str, typer.Option(metavar="NAME,NAME", help="Families to choose from. Default: all but upstream.")
    ] = "",
    time_budget: Annotated[float, typer.Option(help="Training seconds of the experiments it is for.")] = 300.0,
    output_dir: Annotated[
        Path | None, typer.Option(help="Where results are kept. Default: this machine's place in ARE_HOME.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Name of a prepared dataset. Default: the one that was prepared last.")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="torch or mlx. Default: the one that suits this machine.")] = None,
    device: Annotated[
        str | None, typer.Option(help="cuda:N, mps, metal or cpu. Default: the best device of this machine.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Measure everything again.")] = False,
    unless_calibrated: Annotated[
        bool, typer.Option("--unless-calibrated", help="Do nothing when this machine has a default.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")] = False,
) -> None:
    """Measure what fits, how fast it is, what trains best here and how noisy the score is; keep it as the default."""
    from shared.calibration.job import CalibrateJob, CalibrationRequest, build_calibration

    request = dict(
        mode=mode, budget=budget, presets=presets, time_budget=time_budget, dataset=dataset, engine=engine,
        device=device,
    )  # fmt: skip
    calibration = build_calibration(validated(CalibrationRequest, request))
    if unless_calibrated and calibration_view.show_existing(calibration, json):
        return
    require("calibration", *([] if settings().spool else [calibration.engine]))
    job = CalibrateJob(calibration=calibration, folder=output_dir and output_dir.absolute(), force=force)
    with ends_like_ctrl_c():
        raise typer.Exit(run_calibration(job, json))


def run_calibration(job: "CalibrateJob", as_json: bool) -> int:
    """Runs the stage and shows what it tells: the exit code. ValueError for wrong input, OSError for the disk."""
    with calibration_view.shown(job.place, quiet=as_json) as watch:
        code, line = NativeExecutor(term_timeout_s=30.0).execute("calibrator", [job.model_dump_json()], watch)
    raise_fault(code, line)
    if code:
        why = line or f"exit code {code}"
        raise ValueError(f"the calibration was ended ({why}); run the same command again to continue")
    return calibration_view.conclude(job.place, as_json)
