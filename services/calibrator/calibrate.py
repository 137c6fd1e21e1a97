"""One calibration from its folder to the platform default: the phases in order, each skipped when its inputs match.

Killed at any moment it goes on: phases that ended are read from their files, probes from the journal, minutes from the
events.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

from filelock import FileLock, Timeout

from services.calibrator.confirm import Confirmation, confirm
from services.calibrator.envelope import EnvelopeFound, measure_envelope
from services.calibrator.experiments import Experiments, Journal, Now
from services.calibrator.findings import Findings, own_table, platform_default
from services.calibrator.fingerprint import Fingerprint, fingerprint
from services.calibrator.measurement import Outcome
from services.calibrator.noise import Noise, measure_noise
from services.calibrator.outlook import SearchInputs
from services.calibrator.prior import Prior, prior
from services.calibrator.report import write_report
from services.calibrator.rungs import KeptCheckpoint, RungCosts, keep_checkpoint, measure_rungs
from services.calibrator.search import SearchResult, search
from services.calibrator.space import NothingFits
from services.calibrator.store import PhaseStore
from services.calibrator.tune import Tuned, tune
from services.calibrator.work import Clock, WithinMinutes, Work
from shared.calibration.events import PlannedPhase, append_event, events_file, read_events
from shared.calibration.folder import fleet_rows_file, lay_out
from shared.calibration.job import CalibrateJob, Calibration
from shared.calibration.promotion import promoted_rows
from shared.contracts import Contract, Shape
from shared.data.dataset import open_reference
from shared.experiment.platform_default import PlatformDefault, Tuning, write_default
from shared.experiment.presets import find_preset
from shared.machine.device_lock import device_lock
from shared.quality import QualityRow, QualityTable, published_rows, read_rows, rows_of_runs
from shared.stages.executors import Executor


@dataclass(frozen=True)
class Phase:
    name: str
    says: str
    shares: Mapping[str, float]
    """of the minutes, by mode"""
    result: type[Contract]
    needs: tuple[str, ...]
    """phases whose results go in"""
    run: Callable[["Session", float], Contract]
    """with the seconds it may take"""


class Session:
    """One process's work on a calibration."""

    def __init__(self, folder: Path, calibration: Calibration, executor: Executor, now: Now = monotonic):
        journal = Journal(folder / f"probes-{calibration.machine_signature[:8]}.jsonl")
        self.machine = Experiments(calibration, journal, executor, now)
        clock = Clock(calibration.minutes, spent_before(folder), now)
        self.work = Work(calibration, folder, self.machine, clock, table_for(calibration))
        self.store, self.found = PhaseStore(folder), Findings()

    @property
    def calibration(self) -> Calibration:
        return self.work.calibration

    @property
    def tuning(self) -> Tuning:
        return self.found.tune.tuning if self.found.tune else Tuning()

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
            if (share := phase.shares[self.calibration.mode])
        )
        append_event(self.work.folder, kind="plan", spent_s=self.work.clock.spent_s, plan=plan)
        if unreadable := self.machine.journal.unreadable:
            self.work.say(f"{unreadable} line(s) of {self.machine.journal.path.name} cannot be read and are left out")

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

    def _tell(self, **fields: Any) -> None:
        append_event(self.work.folder, phase=self.work.phase, spent_s=self.work.clock.spent_s, **fields)

    def allowance_s(self, place: int) -> float:
        """What is left, divided by the shares of the phases that are left: what one does not need, others get."""
        shares = [phase.shares[self.calibration.mode] for phase in PHASES[place:]]
        return self.work.clock.remaining_s * shares[0] / sum(shares) if sum(shares) else 0.0

    def _inputs(self, phase: Phase) -> dict[str, Any]:
        own = self.calibration.model_dump(mode="json", exclude={"memory_mb"})
        results = {name: getattr(self.found, name).model_dump(mode="json") for name in phase.needs}
        return {"calibration": own, **results}


def _search(session: Session, allowance_s: float) -> SearchResult:
    found, work = session.found, session.work
    assert found.envelope
    assert found.prior
    assert found.fingerprint
    starts: list[Shape] = [one.shape for one in found.prior.expected[:1]]
    if found.fingerprint.nearest_shape is not None:
        starts.append(found.fingerprint.nearest_shape)
    inputs = SearchInputs(
        envelope=found.envelope.envelope,
        presets={name: find_preset(name).shape for name in work.calibration.presets},
        allowance_s=max(1.0, allowance_s),
        target_s=work.calibration.target_seconds,
        tuning=session.tuning,
        rung=found.prior.rung,
        vocab_size=work.vocab_size,
        starts=tuple(starts),
    )

    def tell(outcome: Outcome, so_far: SearchResult) -> None:
        best = so_far.ranked[0] if so_far.ranked else None
        said = f"{best.preset}: {best.val_bpb:.3f} +- {best.spread:.3f} at {inputs.target_s:g} s" if best else ""
        work.tell(outcome, said)

    table, known = replace(work.table, rung=found.prior.rung), session.machine.journal.all()
    try:
        result = search(inputs, table, WithinMinutes(work), work.folder, known=known, on_outcome=tell)
    except NothingFits as nothing:
        work.say(str(nothing))
        return SearchResult(ranked=(), stopped="exhausted", sure=0, margin=0, noise=0, spent_s=0, outcomes=())
    if result.note:
        work.say(result.note)
    return result


def _confirm(session: Session, allowance_s: float) -> Confirmation:
    found = session.found
    assert found.search
    assert found.prior
    return confirm(session.work, found.search, found.prior, session.tuning, session.own_table(), allowance_s)


def _envelope(session: Session, allowance_s: float) -> EnvelopeFound:
    assert session.found.tune
    return measure_envelope(session.work, session.tuning, session.found.tune.tried, allowance_s)


def _prior(session: Session, allowance_s: float) -> Prior:
    assert session.found.envelope
    return prior(session.work, session.found.envelope.envelope, session.found.outcomes())


def _checkpoint(session: Session, allowance_s: float) -> KeptCheckpoint:
    assert session.found.confirm
    kept = keep_checkpoint(session.found.confirm)
    session.machine.tidy(keep={kept.run_id})
    return kept


def _rungs(session: Session, allowance_s: float) -> RungCosts:
    assert session.found.checkpoint
    return measure_rungs(session.work, session.machine, session.found.checkpoint, allowance_s)


def _noise(session: Session, allowance_s: float) -> Noise:
    found = session.found
    assert found.confirm
    assert found.prior
    return measure_noise(
        session.work, found.confirm, found.prior, session.tuning, found.outcomes(), allowance_s
    )  # fmt: skip


PHASES: tuple[Phase, ...] = (
    Phase(
        "fingerprint",
        "which machine this is, and whether one like it is known",
        {"fast": 0.0, "full": 0.0},
        Fingerprint,
        (),
        lambda session, _: fingerprint(session.work),
    ),
    Phase(
        "tune",
        "which attention and compilation are fastest",
        {"fast": 0.08, "full": 0.06},
        Tuned,
        ("fingerprint",),
        lambda session, allowance_s: tune(session.work, allowance_s),
    ),
    Phase(
        "envelope",
        "what fits into memory, and how fast it trains",
        {"fast": 0.24, "full": 0.12},
        EnvelopeFound,
        ("tune",),
        _envelope,
    ),
    Phase("prior", "what runs elsewhere say", {"fast": 0.0, "full": 0.0}, Prior, ("envelope",), _prior),
    Phase(
        "search",
        "short trainings of the shapes that may be best",
        {"fast": 0.34, "full": 0.30},
        SearchResult,
        ("fingerprint", "tune", "envelope", "prior"),
        _search,
    ),
    Phase(
        "confirm",
        "the best, trained longer with fresh seeds",
        {"fast": 0.15, "full": 0.22},
        Confirmation,
        ("search", "prior", "tune"),
        _confirm,
    ),
    Phase(
        "checkpoint", "the weights of the best", {"fast": 0.0, "full": 0.0}, KeptCheckpoint, ("confirm",), _checkpoint
    ),
    Phase(
        "rungs",
        "what scoring costs",
        {"fast": 0.06, "full": 0.08},
        RungCosts,
        ("checkpoint",),
        _rungs,
    ),
    Phase(
        "noise",
        "how far the score differs from seed to seed",
        {"fast": 0.13, "full": 0.22},
        Noise,
        ("confirm", "prior", "tune"),
        _noise,
    ),
)


def calibrate(job: CalibrateJob, executor: Executor, now: Now = monotonic) -> PlatformDefault:
    """The device is held from the first probe to the last. ValueError, in one line, for what nobody can measure."""
    folder, calibration = job.place, job.calibration
    lay_out(folder, calibration)
    with ExitStack() as folder_lock:
        with device_lock(calibration.device):
            folder_lock.enter_context(only_one(folder))
            executor.reclaim()
            session = Session(folder, calibration, executor, now)
            session.begin(job.force)
            for place in range(len(PHASES)):
                session.run_phase(place)
            default = platform_default(session.work, session.found)
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


def spent_before(folder: Path) -> float:
    """Seconds that an unfinished calibration has used; 0 when the last one came to its end."""
    events, _ = read_events(folder) if events_file(folder).exists() else ([], 0)
    return 0.0 if not events or events[-1].kind == "finished" else events[-1].spent_s


def table_for(calibration: Calibration) -> QualityTable:
    """Published rows, this machine's finished runs, promoted ones, and the fleet's where somebody brought them.

    Without this calibration's own probes: those are added while it goes on.
    """
    dataset = open_reference(calibration.dataset)
    own = [row for row in rows_of_runs() if not row.source.startswith(calibration.id)]
    rows: list[QualityRow] = [*published_rows(), *own]
    promoted = [row for row in promoted_rows() if not row.source.startswith(calibration.id)]
    rows += new_rows(promoted, rows)
    if fleet_rows_file().exists():
        rows += new_rows(read_rows(fleet_rows_file()).rows, rows)
    return QualityTable(
        tuple(rows),
        dataset=calibration.dataset.fingerprint,
        vocab_size=dataset.vocab_size,
        corpus=dataset.manifest.corpus,
        hardware_key=calibration.hardware_key,
    )


def new_rows(rows: Sequence[QualityRow], known: Sequence[QualityRow]) -> list[QualityRow]:
    """Those whose source is not known yet: this machine's runs are in the fleet's MLflow too."""
    sources = {row.source for row in known}
    return [row for row in rows if row.source not in sources]
