"""The work behind `autoresearch sweep`: finds or makes the sweep's folder, chooses the place, tells how it goes."""

import json
import sys
import time
from functools import partial
from pathlib import Path

from services.console import progress, summary
from services.console.sweep_ideas import IdeaRegister
from services.console.sweep_queue import QueuePlace
from shared.contracts import Status
from shared.data.dataset import default_dataset, open_dataset
from shared.experiment.request import build_job, check_keys
from shared.files import sha256_bytes
from shared.machine.awake import kept_awake
from shared.machine.targets import find_target
from shared.runs.recipe_file import read_source
from shared.runs.shipped import default_recipe
from shared.stages.executors import NativeExecutor
from shared.sweep.constants import with_constants
from shared.sweep.folder import Begun, Ended, Header, SweepFolder
from shared.sweep.local import LocalPlace
from shared.sweep.night import Night, Place, request_of
from shared.sweep.plan import Plan, Point, Range, read_plan
from shared.sweep.proposals import Searched
from shared.sweep.report import append_results, best_of, write_report

HOUR_S = 3600.0


def work(file: Path, tag: str, hours: float, parallel: int | None, results: Path) -> int:
    """Exit code 0 when something has a number, 1 otherwise. ValueError for wrong input."""
    folder = SweepFolder(results / "overnight" / tag)
    with folder.locked():
        header = opened(folder, file, tag)
        place = place_of(header, parallel)
        ends_at = header.began_at + hours * HOUR_S
        register = IdeaRegister(folder, header, target_of(header.plan))
        night = Night(folder, header, place, register, ends_at, lambda begun, ended: None)
        night.tell = partial(note, night, results / "results.tsv")
        night.say = partial(print, flush=True)
        announce(night, hours)
        for number, ended in night.ended.items():  # a kill may have come between the log and this file
            append_results(results / "results.tsv", tag, night.begun[number].point, ended)
        try:
            with kept_awake():  # also between its experiments
                night.run()
        except KeyboardInterrupt:
            print(f"sweep {tag} was interrupted; the same command continues it", file=sys.stderr)
            raise
        finally:
            report(night)
        return conclude(night)


def opened(folder: SweepFolder, file: Path, tag: str) -> Header:
    """The sweep's own header, or a new one. ValueError when the file says something else than the sweep it names."""
    plan, known = read_plan(file), folder.header()
    source = base_recipe(plan, file)
    if known is not None:
        if (known.plan, known.recipe_sha) != (plan, sha256_bytes(source)):
            raise ValueError(f"{folder.path} is a sweep of another plan or recipe: choose another --tag, or remove it")
        return known
    check(plan, source)
    dataset = None if plan.target else build_job(request_of(plan, Point()), source)[0].dataset.name
    header = Header(tag=tag, plan=plan, recipe_sha=sha256_bytes(source), began_at=time.time(), dataset=dataset)
    folder.create(header, source)
    return header


def base_recipe(plan: Plan, file: Path) -> bytes:
    if plan.recipe is None:
        return default_recipe(engine_of(plan)).read_bytes()
    path = file.parent / plan.recipe
    if not path.is_file():
        raise ValueError(f"{file}: the recipe {path} does not exist")
    return read_source(path)


def engine_of(plan: Plan) -> str:
    """Whose shipped recipe is the base."""
    if plan.target is not None:
        return "mlx" if find_target(plan.target).image is None else "torch"
    return build_job(request_of(plan, Point()))[0].engine


def target_of(plan: Plan) -> str:
    return plan.target or build_job(request_of(plan, Point()))[0].target


def check(plan: Plan, source: bytes) -> None:
    """ValueError for what would fail in every run: constants, keys, and on this machine the base itself."""
    check_keys(
        [*plan.set, *(plan.space.set if plan.space else ()), *(key for point in plan.points for key in point.set)]
    )
    for point in plan.points or (Point(),):
        with_constants(source, point.constants)
    if plan.space is not None:
        with_constants(source, {name: first_of(dimension) for name, dimension in plan.space.constants.items()})
    if plan.target is None:
        build_job(request_of(plan, Point()), source)
    else:
        find_target(plan.target)
        request_of(plan, Point())


def first_of(dimension: object) -> object:
    return dimension.low if isinstance(dimension, Range) else dimension[0]  # type: ignore[index]


def place_of(header: Header, parallel: int | None) -> Place:
    if header.plan.target is not None:
        return QueuePlace(header.plan.target, header.tag, parallel)
    return LocalPlace(NativeExecutor(), progress.shown, summary.record_run, lambda why: print(f"waiting: {why}"))


def announce(night: Night, hours: float) -> None:
    """ValueError when there is no time for a single run."""
    plan, done = night.plan, len(night.ended)
    where = f"queue {plan.target}" if plan.target else "this machine"
    print(f"sweep    {night.folder.path}, on {where}, {hours:g} h from its start")
    if done:
        print(f"continue {done} points have ended, {len(night.begun) - done} were under way")
    if not night.begun and time.time() + night.expected_s > night.ends_at:
        raise ValueError(
            f"{hours:g} h are too short for one point, which takes about {night.expected_s / 60:.0f} minutes"
        )
    dataset = open_dataset(plan.dataset) if plan.dataset else None if plan.target else default_dataset()[0]
    if dataset is not None and dataset.manifest.is_demo:
        print("corpus   a demo corpus is never ranked, so nothing can be kept: prepare climbmix for results")


def note(night: Night, results_tsv: Path, begun: Begun, ended: Ended) -> None:
    append_results(results_tsv, night.header.tag, begun.point, ended)
    score = "no number" if ended.val_bpb is None else f"val_bpb {ended.val_bpb:.6f}"
    reason = f" ({ended.reason[:200]})" if ended.reason else ""
    left_h = max(0.0, night.ends_at - time.time()) / HOUR_S
    print(f"#{ended.number:<3} {score}  {ended.verdict:<8} {begun.point}{reason}  [{left_h:.1f} h left]", flush=True)
    report(night)


def report(night: Night) -> None:
    study = night.proposals.study if isinstance(night.proposals, Searched) else None
    write_report(night.folder, night.header, night.begun, night.ended, study)


def conclude(night: Night) -> int:
    best = best_of(night.ended)
    why = "every point was tried" if night.exhausted else "the time is over"
    print(f"the sweep has ended: {why}, {len(night.ended)} points. {night.folder.path / 'report.md'} has the table")
    if best is not None:
        print(f"best     val_bpb {best.val_bpb:.6f} with {night.begun[best.number].point}")
    numbers = any(result.status is Status.OK for end in night.ended.values() for result in end.results)
    return int(not numbers)


def as_json(tag: str, results: Path) -> str:
    """The sweep as it stands: its best point, and how each ended."""
    folder = SweepFolder(results / "overnight" / tag)
    begun, ended = folder.records()
    points = [
        begun[number].model_dump(mode="json", exclude={"event"}) | end.model_dump(mode="json", exclude={"event"})
        for number, end in ended.items()
    ]
    best = best_of(ended)
    said = {"tag": tag, "folder": str(folder.path), "best": best and best.number, "points": points}
    return json.dumps(said)
