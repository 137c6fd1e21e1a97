"""What is reported on: the findings of one calibration, its default, and who says what."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from services.calibrator.conclusion import Expectation, expectation, rung_correction
from services.calibrator.confirm import Confirmation
from services.calibrator.envelope import EnvelopeFound
from services.calibrator.envelope_model import Family, pass_tokens
from services.calibrator.findings import Findings, chosen_shape
from services.calibrator.fingerprint import Fingerprint
from services.calibrator.hindsight import Hindsight
from services.calibrator.measurement import Outcome
from services.calibrator.noise import Noise
from services.calibrator.prior import Prior
from services.calibrator.ranking import Ranked
from services.calibrator.report.contract import Evidence
from services.calibrator.rungs import RungCosts
from services.calibrator.search import SearchResult
from services.calibrator.tune import Tuned
from services.calibrator.work import Work, describe, describe_shape
from shared.calibration.events import events_file
from shared.calibration.folder import calibration_file
from shared.contracts import Shape
from shared.experiment.platform_default import Expects, PlatformDefault
from shared.quality import QualityRow, QualityTable
from shared.quality.model_size import model_size

LAW = "quality-law"


class Book:
    """Evidence by its id; what a section names is entered here."""

    def __init__(self, outcomes: Iterable[Outcome], rows: Iterable[QualityRow]):
        self._outcomes = {outcome.probe.key: outcome for outcome in outcomes}
        self._rows = {row.source: row for row in rows}
        self._entries = {id_of(one): _of_outcome(one) for one in self._outcomes.values()}

    def probes(self, keys: Iterable[str]) -> tuple[str, ...]:
        """Ids of the probes that are known; a key nobody measured is left out."""
        return tuple(id_of(self._outcomes[key]) for key in keys if key in self._outcomes)

    def rows(self, sources: Iterable[str]) -> tuple[str, ...]:
        """Ids of rows of the quality table; where no row says anything, the table's law does."""
        names = tuple(sources) or (LAW,)
        for name in names:
            if name not in self._entries:
                self._entries[name] = _of_row(name, self._rows.get(name))
        return names

    def file(self, path: Path, says: str) -> tuple[str, ...]:
        self._entries.setdefault(path.name, Evidence(id=path.name, kind="file", says=says))
        return (path.name,)

    def outcome(self, key: str) -> Outcome | None:
        return self._outcomes.get(key)

    def entries(self) -> tuple[Evidence, ...]:
        return tuple(self._entries.values())


def id_of(outcome: Outcome) -> str:
    return outcome.run_id or outcome.probe.key


def _of_outcome(outcome: Outcome) -> Evidence:
    says = describe(outcome)
    return Evidence(id=id_of(outcome), kind="run" if outcome.run_id else "probe", says=says, outcome=outcome)


def _of_row(name: str, row: QualityRow | None) -> Evidence:
    if name == LAW:
        return Evidence(id=LAW, kind="law", says="no row: the quality table's formula and its priors alone")
    assert row is not None, name
    where = f" on {row.hardware_key}" if row.hardware_key else ""
    says = f"{describe_shape(row.shape)}, {row.num_tokens:,} tokens: val_bpb {row.val_bpb:.4f}{where}"
    return Evidence(id=name, kind="row", says=says, row=row)


@dataclass(frozen=True)
class Said:
    """Of one shape after some tokens, by the quality table with this machine's rows."""

    val_bpb: float
    spread: float
    """of the expected score, without the noise of a run"""
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Subject:
    folder: Path
    work: Work
    found: Findings
    default: PlatformDefault

    @cached_property
    def hindsight(self) -> Hindsight:
        return Hindsight(self.work, self.found)

    @property
    def table(self) -> QualityTable:
        return self.hindsight.table

    @cached_property
    def book(self) -> Book:
        return Book(self.found.outcomes(), self.table.rows)

    @cached_property
    def vocab_size(self) -> int:
        return self.work.vocab_size

    @cached_property
    def chosen(self) -> Ranked:
        chosen = chosen_shape(self.found)
        assert chosen is not None, "nothing was measured"
        return chosen

    @property
    def expects(self) -> Expects:
        """What the default says; it is there where a shape was chosen."""
        expects = self.default.expects
        assert expects is not None, "nothing was measured"
        return expects

    @cached_property
    def expected(self) -> Expectation:
        return expectation(self.work, self.found, self.chosen)

    @cached_property
    def correction(self) -> float:
        return rung_correction(self.found)

    @property
    def target_s(self) -> float:
        return self.work.calibration.target_seconds

    @property
    def envelope(self) -> EnvelopeFound:
        assert self.found.envelope
        return self.found.envelope

    @property
    def search(self) -> SearchResult:
        assert self.found.search
        return self.found.search

    @property
    def confirm(self) -> Confirmation:
        assert self.found.confirm
        return self.found.confirm

    @property
    def prior(self) -> Prior:
        assert self.found.prior
        return self.found.prior

    @property
    def tuned(self) -> Tuned:
        assert self.found.tune
        return self.found.tune

    @property
    def rungs(self) -> RungCosts:
        assert self.found.rungs
        return self.found.rungs

    @property
    def noise(self) -> Noise:
        noise = self.found.latest_noise()
        assert noise
        return noise

    @property
    def fingerprint(self) -> Fingerprint:
        assert self.found.fingerprint
        return self.found.fingerprint

    def params(self, shape: Shape) -> int:
        """Weights of the blocks: what makes a model larger."""
        return model_size(shape, self.vocab_size).block_params

    def say(self, shape: Shape, num_tokens: float) -> Said:
        predictions = self.table.predict_many([(shape, max(1, round(num_tokens)))])
        spread = float(max(predictions.covariance()[0, 0], 0.0) ** 0.5)
        one = predictions[0]
        return Said(one.val_bpb, spread, self.book.rows(one.sources))

    def own_outcomes(self, shape: Shape) -> list[Outcome]:
        """That came to a number."""
        return self.found.good_runs(shape)

    def at_largest(self, family: Family) -> list[Outcome]:
        """The family's own probes with the largest pass that is on offer; none where it was only expected to fit."""
        own = (self.book.outcome(key) for key in family.probes if not family.inferred)
        return [one for one in own if one and one.is_ok and pass_tokens(one.probe.shape) == family.largest_pass_tokens]

    def asked_file(self) -> tuple[str, ...]:
        return self.book.file(calibration_file(self.folder), "what was asked for, and of which machine")

    def events_file(self) -> tuple[str, ...]:
        return self.book.file(events_file(self.folder), "what happened when")


def ids_of(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(id_of, outcomes)))


def merged(*groups: Iterable[str]) -> tuple[str, ...]:
    """Each source once, in order."""
    return tuple(dict.fromkeys(name for group in groups for name in group))
