"""The phases of a calibration as data: what each is for, its share of the minutes, what goes in and what runs it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from services.calibrator.confirm import Confirmation, confirm
from services.calibrator.envelope import EnvelopeFound, measure_envelope
from services.calibrator.extend import Extended, extend
from services.calibrator.fingerprint import Fingerprint, fingerprint
from services.calibrator.measurement import Outcome
from services.calibrator.noise import Noise, measure_noise
from services.calibrator.outlook import SearchInputs
from services.calibrator.pairing import Paired, measure_pairing
from services.calibrator.prior import Prior, prior
from services.calibrator.reconsider import reconsidered
from services.calibrator.rungs import KeptCheckpoint, RungCosts, keep_checkpoint, measure_rungs
from services.calibrator.search import SearchResult, search
from services.calibrator.space import NothingFits
from services.calibrator.tune import Tuned, tune
from services.calibrator.work import WithinMinutes
from shared.contracts import Contract, Shape
from shared.experiment.presets import find_preset

if TYPE_CHECKING:
    from services.calibrator.calibrate import Session


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
    takes_what_is_left: bool = False
    """all minutes that the others did not need, whatever its shares"""


def _search(session: "Session", allowance_s: float) -> SearchResult:
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
        tuning=session.found.tuning,
        rung=found.prior.rung,
        vocab_size=work.vocab_size,
        starts=tuple(starts),
    )

    def tell(outcome: Outcome, so_far: SearchResult) -> None:
        best = so_far.ranked[0] if so_far.ranked else None
        said = f"{best.preset}: {best.val_bpb:.3f} +- {best.spread:.3f} at {inputs.target_s:g} s" if best else ""
        work.tell(outcome, said)

    table = replace(work.table, rung=found.prior.rung)
    known = [one for one in session.machine.journal.all() if one.probe.tuning == found.tuning]
    try:
        result = search(inputs, table, WithinMinutes(work), work.folder, known=known, on_outcome=tell)
    except NothingFits as nothing:
        work.say(str(nothing))
        return SearchResult(ranked=(), stopped="exhausted", sure=0, margin=0, noise=0, spent_s=0, outcomes=())
    if result.note:
        work.say(result.note)
    return result


def _confirm(session: "Session", allowance_s: float) -> Confirmation:
    found = session.found
    assert found.search
    assert found.prior
    first = confirm(session.work, found.search, found.prior, found.tuning, session.own_table(), allowance_s)
    return reconsidered(session.work, found, first)


def _envelope(session: "Session", allowance_s: float) -> EnvelopeFound:
    assert session.found.tune
    return measure_envelope(session.work, session.found.tuning, session.found.tune.tried, allowance_s)


def _prior(session: "Session", allowance_s: float) -> Prior:
    assert session.found.envelope
    return prior(session.work, session.found.envelope.envelope, session.found.outcomes())


def _checkpoint(session: "Session", allowance_s: float) -> KeptCheckpoint:
    assert session.found.confirm
    kept = keep_checkpoint(session.found.confirm)
    session.machine.tidy(keep={kept.run_id})
    return kept


def _rungs(session: "Session", allowance_s: float) -> RungCosts:
    assert session.found.checkpoint
    return measure_rungs(session.work, session.machine, session.found.checkpoint, allowance_s)


def _noise(session: "Session", allowance_s: float) -> Noise:
    found = session.found
    assert found.confirm
    assert found.prior
    return measure_noise(session.work, found.confirm, found.prior, found.tuning, found.outcomes(), allowance_s)


def _pairing(session: "Session", allowance_s: float) -> Paired:
    found = session.found
    assert found.confirm
    assert found.search
    assert found.prior
    assert found.noise
    return measure_pairing(
        session.work, found.confirm, found.search, found.prior, found.tuning, found.noise, found.outcomes(),
        allowance_s,
    )  # fmt: skip


def _extend(session: "Session", allowance_s: float) -> Extended:
    found = session.found
    assert found.confirm
    assert found.prior
    assert found.noise
    return extend(
        session.work, found.confirm, found.prior, found.tuning, found.noise, found.outcomes(), session.own_table(),
        allowance_s,
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
        {"fast": 0.06, "full": 0.06},
        Tuned,
        ("fingerprint",),
        lambda session, allowance_s: tune(session.work, allowance_s),
    ),
    Phase(
        "envelope",
        "what fits into memory, and how fast it trains",
        {"fast": 0.18, "full": 0.12},
        EnvelopeFound,
        ("tune",),
        _envelope,
    ),
    Phase("prior", "what runs elsewhere say", {"fast": 0.0, "full": 0.0}, Prior, ("envelope",), _prior),
    Phase(
        "search",
        "short trainings of the shapes that may be best",
        {"fast": 0.26, "full": 0.28},
        SearchResult,
        ("fingerprint", "tune", "envelope", "prior"),
        _search,
    ),
    Phase(
        "confirm",
        "the best, trained longer with fresh seeds",
        {"fast": 0.26, "full": 0.20},
        Confirmation,
        ("search", "prior", "tune", "envelope"),
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
        {"fast": 0.18, "full": 0.16},
        Noise,
        ("confirm", "prior", "tune"),
        _noise,
    ),
    Phase(
        "pairing",
        "whether runs with the same seed have luck in common",
        {"fast": 0.0, "full": 0.10},
        Paired,
        ("search", "confirm", "prior", "tune", "noise"),
        _pairing,
    ),
    Phase(
        "extend",
        "what is left over: a longer run of the best, or more seeds of it",
        {"fast": 0.0, "full": 0.0},
        Extended,
        ("confirm", "prior", "tune", "noise", "pairing"),
        _extend,
        takes_what_is_left=True,
    ),
)
