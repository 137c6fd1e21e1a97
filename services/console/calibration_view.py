"""What a person sees of a calibration: read from its events, so that it can be watched from anywhere.

A terminal gets a live view; a file or pipe one line for each event.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from shared.calibration.events import Event, PlannedPhase, events_file, read_default_of, read_events
from shared.calibration.job import Calibration
from shared.experiment.platform_default import PlatformDefault, default_file, read_default
from shared.stages.executors import Watch

NUM_PROBES = 8
"""the newest that are shown"""
EFFECTS = (1, 3, 8)


class View:
    """The state of a calibration, as far as its events tell."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.read_to = events_file(folder).stat().st_size if events_file(folder).exists() else 0
        self.events: list[Event] = []
        self.plan: Event | None = None

    def look(self) -> list[Event]:
        """What is new."""
        new, self.read_to = read_events(self.folder, self.read_to)
        self.events += new
        self.plan = next((event for event in reversed(self.events) if event.kind == "plan"), self.plan)
        return new

    @property
    def phase(self) -> str:
        return next((event.phase for event in reversed(self.events) if event.kind in ("phase", "reused")), "")

    @property
    def best(self) -> str:
        return next((event.best for event in reversed(self.events) if event.best), "")

    @property
    def total_s(self) -> float:
        return 60 * sum(phase.minutes for phase in self.plan.plan) if self.plan else 0.0

    @property
    def spent_s(self) -> float:
        """Until now: events come only when something begins or ends."""
        if not self.events:
            return 0.0
        last = self.events[-1]
        return last.spent_s + max(0.0, (datetime.now(UTC) - last.at).total_seconds())

    @property
    def now(self) -> str:
        """The probe that runs; empty between probes."""
        told = [event for event in self.events if event.kind in ("begun", "probe", "phase", "note")]
        return told[-1].says if told and told[-1].kind == "begun" else ""


@contextmanager
def shown(folder: Path, quiet: bool = False) -> Iterator[Watch]:
    """A watch that shows the events of the calibration in `folder` on stderr as they come."""
    console, view = Console(stderr=True), View(folder)
    if console.is_terminal and not quiet:
        with Live(picture(view), console=console, refresh_per_second=4, transient=True) as live:
            yield lambda stage: _refresh(live, view)
        view.look()
        _print_plainly(console, view.events)
        return
    try:
        yield lambda stage: _print_plainly(console, view.look())
    finally:
        _print_plainly(console, view.look())


def _refresh(live: Live, view: View) -> None:
    view.look()
    live.update(picture(view))


def picture(view: View) -> Group:
    """Phases with the one that runs, the newest probes, the best, and the time left."""
    if view.plan is None:
        return Group(Text("starting", style="dim"))
    left_s = max(0.0, view.total_s - view.spent_s)
    bar = ProgressBar(total=view.total_s or 1.0, completed=view.spent_s, width=40)
    head = Table.grid(padding=(0, 2))
    head.add_row(Text("calibrating", style="bold"), bar, f"{minutes(left_s)} left")
    best = (
        Text(f"best so far  {view.best}", style="bold") if view.best else Text("no shape was scored yet", style="dim")
    )
    running = Text(f"running      {view.now}" if view.now else "", style="cyan")
    return Group(head, _phases(view), _probes(view), running, best)


def _phases(view: View) -> Table:
    table = Table.grid(padding=(0, 2))
    done = {event.phase for event in view.events if event.kind in ("phase", "reused")} - {view.phase}
    for phase in view.plan.plan if view.plan else ():
        is_now = phase.name == view.phase
        mark = ">" if is_now else "done" if phase.name in done else ""
        style = "bold" if is_now else "dim"
        table.add_row(mark, phase.name, phase.says, planned(phase), style=style)
    return table


def _probes(view: View) -> Table:
    table = Table.grid(padding=(0, 2))
    for event in [event for event in view.events if event.kind == "probe"][-NUM_PROBES:]:
        style = "" if event.status == "ok" else "yellow"
        table.add_row("", Text(event.phase, style="dim"), Text(event.says, style=style))
    return table


def planned(phase: PlannedPhase) -> str:
    return f"{phase.minutes:.1f} min" if phase.minutes else "what is left"


def minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _print_plainly(console: Console, events: list[Event]) -> None:
    for event in events:
        for line in plain_lines(event):
            console.print(line, highlight=False, markup=False, soft_wrap=True)


def plain_lines(event: Event) -> list[str]:
    if event.kind == "plan":
        total = sum(phase.minutes for phase in event.plan)
        spent = f", {minutes(event.spent_s)} of it were spent before" if event.spent_s > 1 else ""
        head = f"plan         {total:.1f} minutes in all{spent}"
        return [head, *(f"  {phase.name:<10} {planned(phase):<12} {phase.says}" for phase in event.plan)]
    if event.kind == "phase":
        return [f"{event.phase}: {event.says}"]
    if event.kind == "reused":
        return [f"{event.phase}: measured before, used again"]
    if event.kind == "probe":
        best = f"   (best so far: {event.best})" if event.best else ""
        return [f"  {event.says}{best}"]
    return [f"  {event.says}"] if event.kind == "note" else []


def show_existing(calibration: Calibration, as_json: bool) -> bool:
    """Whether this machine has a default that was measured, which is then shown."""
    default = read_default(calibration.hardware_key, calibration.engine)
    if default is None:
        return False
    if not default.is_measured:
        print("this machine was calibrated, but no probe came to a number: it is calibrated again", file=sys.stderr)
        return False
    print(f"this machine was calibrated on {default.made_at:%Y-%m-%d}:", file=sys.stderr)
    print(json.dumps({"default": default.model_dump(mode="json")})) if as_json else print_default(default)
    return True


def conclude(folder: Path, as_json: bool) -> int:
    """Says what became of it. Returns the exit code."""
    default = read_default_of(folder)
    path, report = default_file(default.hardware_key, default.engine), folder / "report.md"
    in_use = read_default(default.hardware_key, default.engine) or default
    if as_json:
        files = {"default_file": str(path), "report": str(report) if report.exists() else None}
        print(json.dumps({"default": default.model_dump(mode="json"), "is_in_use": in_use == default, **files}))
        return 0
    print_default(default)
    print(f"\n{what_train_uses(default, in_use, path)}", file=sys.stderr)
    if report.exists():
        print(f"report  {report}", file=sys.stderr)
    return 0


def what_train_uses(default: PlatformDefault, in_use: PlatformDefault, path: Path) -> str:
    """`default`: what the calibration came to; `in_use`: what is in the file."""
    if in_use != default:
        return (
            f"not kept: {path} of {in_use.made_at:%Y-%m-%d}, confidence {in_use.confidence}, was measured on this "
            "machine; `autoresearch train` goes on using it when no preset is named"
        )
    unsure = "" if default.is_measured else ", and says that nothing was measured"
    return f"kept as {path}; `autoresearch train` uses it when no preset is named{unsure}"


def print_default(default: PlatformDefault) -> None:
    for name, value in summary_rows(default):
        print(f"{name + ':':<14}{value}")


def summary_rows(default: PlatformDefault) -> list[tuple[str, str]]:
    shape = default.shape
    tuned = [f"{key} {value}" for key, value in default.tuning.model_dump().items() if value not in ("auto", {})]
    rows = [
        ("machine", f"{default.hardware_key}, {default.engine}"),
        ("family", f"{default.family}: depth {shape.depth}, d_model {shape.d_model}, heads {shape.heads}"),
        ("shape", f"seq {shape.seq_len}, windows {shape.window_pattern}"),
        ("batch", f"{shape.device_batch_size} x {shape.accumulation_steps} = {shape.total_batch_size:,} tokens a step"),
        ("tuning", ", ".join(tuned) or "the engine's own choice"),
        *expected_rows(default),
        ("rung", describe_rung(default)),
        ("confidence", f"{default.confidence}: {default.reason}"),
    ]
    if default.next_step:
        rows.append(("next", default.next_step))
    if default.noise is not None:
        rows.append(("noise", describe_noise(default)))
    return rows


def expected_rows(default: PlatformDefault) -> list[tuple[str, str]]:
    expects = default.expects
    if expects is None:
        return [("val_bpb", "not known, as is its speed: nothing was measured")]
    return [
        ("val_bpb", f"{expects.val_bpb:.4f} +- {expects.spread:.4f} expected after {default.budget_seconds:g} s"),
        ("speed", f"{expects.tok_per_sec:,.0f} tok/s, {expects.memory_mb:,.0f} MiB"),
    ]


def describe_rung(default: PlatformDefault) -> str:
    return f"{default.rung}" + (f", {default.eval_batch_size} rows at once" if default.eval_batch_size else "")


def describe_noise(default: PlatformDefault) -> str:
    noise = default.noise
    assert noise is not None
    effects = ", ".join(f"{noise.smallest_effect(count):.4f} in {count}" for count in EFFECTS)
    weak = ", weak" if noise.weak else ""
    paired = f"; {noise.pairing.verdict}" if noise.pairing else ""
    return (
        f"sigma {noise.sigma:.4f} [{noise.low:.4f}, {noise.high:.4f}] over {noise.num_seeds} seeds of "
        f"{noise.budget_seconds:g} s{weak}; smallest effect {effects} runs each{paired}"
    )
