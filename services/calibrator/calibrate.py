"""One calibration from its folder to the platform default: the phases in order, each skipped when its inputs match.

Killed at any moment it goes on: phases that ended are read from their files, probes from the journal, minutes from the
events.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any

from filelock import FileLock, Timeout

from services.calibrator.conclusion import platform_default
from services.calibrator.experiments import Experiments, Journal, Now
from services.calibrator.findings import Findings, own_table
from services.calibrator.kernels import Lab
from services.calibrator.known_rows import known_rows, said, table_for
from services.calibrator.phases import PHASES, Phase
from services.calibrator.reconsider import preferred
from services.calibrator.report import write_report
from services.calibrator.store import PhaseStore
from services.calibrator.work import Clock, Work
from shared.calibration.events import PlannedPhase, append_event, events_file, read_events
from shared.calibration.folder import lay_out
from shared.calibration.job import CalibrateJob, Calibration
from shared.experiment.platform_default import PlatformDefault, measured_default, write_default
from shared.machine.device_lock import device_lock
from shared.quality import QualityTable
from shared.settings import settings
from shared.stages.executors import Executor


class Session:
    """One process's work on a calibration."""

    def __init__(self, folder: Path, calibration: Calibration, executor: Executor, now: Now = monotonic):
        journal = Journal(folder / f"probes-{calibration.machine_signature[:8]}.jsonl")
        self.machine = Experiments(calibration, journal, executor, now)
        clock = Clock(calibration.minutes, spent_before(folder, calibration.id), now)
        known = known_rows(calibration)
        table, left_out = table_for(calibration, known.rows), said(known.notes)
        lab = Lab(calibration, executor, now)
        self.work: Work = Work(calibration, folder, self.machine, clock, table, lab=lab, left_out=left_out)
        self.store, self.found = PhaseStore(folder), Findings()

    @property
    def calibration(self) -> Calibration:
        return self.work.calibration

    def own_table(self) -> QualityTable:
        return own_table(self.work.table, self.found)

    def begin(self, force: bool) -> None:
        if force:
            self.store.forget()
            self.machine.forget()
            for path in self.work.folder.glob("search-*.journal"):
                path.unlink()
        plan = tuple(
            PlannedPhase(name=phase.name, says=phase.says, minutes=self.calibration.minutes * share)
            for phase in PHASES
            if (share := phase.shares[self.calibration.mode]) or phase.takes_what_is_left
        )
        append_event(self.work.folder, kind="plan", spent_s=self.work.clock.spent_s, plan=plan)
        if unreadable := self.machine.journal.unreadable:
            self.work.say(f"{unreadable} line(s) of {self.machine.journal.path.name} cannot be read and are left out")
        for note in self.work.left_out:
            self.work.say(note)

    def run_phase(self, place: int) -> None:
        phase = PHASES[place]
        self.work.phase = phase.name
        inputs = self._inputs(phase)
        entry, damage = self.store.load(phase.name, inputs)
        if damage:
            self.work.say(damage)
        if entry is not None and entry.result is not None:
            self._tell(kind="reused")
            result = phase.result.model_validate(entry.result)
        else:
            self._tell(kind="phase", says=phase.says)
            allowance_s = entry.allowance_s if entry else self.allowance_s(place)
            self.store.save(phase.name, inputs, allowance_s)
            result = phase.run(self, allowance_s)
            self.store.save(phase.name, inputs, allowance_s, result)
        setattr(self.found, phase.name, result)

    def tidy(self) -> None:
        """Keeps the weights of the chosen shape's run alone."""
        kept = self.found.checkpoint
        self.machine.tidy(keep={kept.run_id} if kept else set())

    def _tell(self, **fields: Any) -> None:
        append_event(self.work.folder, phase=self.work.phase, spent_s=self.work.clock.spent_s, **fields)

    def allowance_s(self, place: int) -> float:
        """What is left, divided by the shares of the phases that are left: what one does not need, others get."""
        if PHASES[place].takes_what_is_left:
            return self.work.clock.remaining_s
        shares = [phase.shares[self.calibration.mode] for phase in PHASES[place:]]
        return self.work.clock.remaining_s * shares[0] / sum(shares) if sum(shares) else 0.0

    def _inputs(self, phase: Phase) -> dict[str, Any]:
        own = self.calibration.model_dump(mode="json", exclude={"memory_mb"})
        results = {name: getattr(self.found, name).model_dump(mode="json") for name in phase.needs}
        return {"calibration": own, **results}


def calibrate(job: CalibrateJob, executor: Executor, now: Now = monotonic) -> PlatformDefault:
    """The device is held from the first probe to the last. ValueError, in one line, for what nobody can measure: no
    dataset, a device in use. Whatever becomes of the probes there is a default; one of which nothing was measured takes
    the place of none that was."""
    folder, calibration = job.place, job.calibration
    damage = lay_out(folder, calibration)
    with ExitStack() as folder_lock:
        with device_lock(calibration.device):
            folder_lock.enter_context(only_one(folder))
            executor.reclaim()
            is_void = measured_nothing(folder)
            session = Session(folder, calibration, executor, now)
            session.begin(job.force or is_void)
            if is_void:
                session.work.say("the last calibration in this folder measured nothing: its probes are tried again")
            if damage:
                session.work.say(damage)
            for place in range(len(PHASES)):
                session.run_phase(place)
            session.tidy()
            session.found.preferred = preferred(session.work, session.found)
            kept = measured_default(calibration.hardware_key, calibration.engine)
            default = platform_default(session.work, session.found, kept)
        if default.is_measured or kept is None:
            write_default(default)
        report(session.work, session.found, default)
        append_event(folder, kind="finished", spent_s=session.work.clock.spent_s, default=default)
    return default


def report(work: Work, found: Findings, default: PlatformDefault) -> None:
    """Whatever goes wrong with it, the default stands and the calibration ends well."""
    work.phase = "report"
    work.say("writing the report")
    try:
        work.say(f"the report is {write_report(work.folder, work, found, default)}")
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        work.say(f"the report could not be written: {what}; calibrate again to try it")


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """ValueError when another process works in the folder: two devices of one machine share its place."""
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(
            f"another calibration works in {folder}: wait for it, or choose another --output-dir"
        ) from None
    try:
        yield
    finally:
        lock.release()


def measured_nothing(folder: Path) -> bool:
    """Whether the last calibration in the folder came to its end without one number: its failures are no evidence that
    the next one should go by."""
    events, _ = read_events(folder)
    last = events[-1] if events else None
    return last is not None and last.default is not None and not last.default.is_measured


def spent_before(folder: Path, calibration_id: str) -> float:
    """Seconds that an unfinished calibration has used; 0 when the last one came to its end."""
    events, _ = read_events(folder) if events_file(folder).exists() else ([], 0)
    if not events or events[-1].kind == "finished":
        return 0.0
    return events[-1].spent_s + untold_s(events[-1].at, calibration_id)


def untold_s(since: datetime, calibration_id: str) -> float:
    """Of a probe during which it was killed: until its run directory was last written to, which is every 10 s."""
    files = settings().runs.glob(f"{calibration_id}-*/*.jsonl")
    return max(0.0, max((file.stat().st_mtime for file in files), default=0.0) - since.timestamp())
