"""What is known before a calibration begins: rows of the quality table, and what of them could not be read."""

from collections.abc import Sequence

from shared.calibration.folder import fleet_rows_file
from shared.calibration.job import Calibration
from shared.calibration.promotion import read_promoted
from shared.contracts import one_line
from shared.data.dataset import open_reference
from shared.quality import QualityRow, QualityTable, RowsRead, published_rows, read_rows, rows_of_runs

UNLIKELY_SPREADS = 2.5
"""below what is expected: for a text of which no run is known, one spread is half a bit"""
MOST_NOTES = 3
"""said one by one; of more the number is said"""


def known_rows(calibration: Calibration) -> RowsRead:
    """Published rows, this machine's finished runs, promoted ones, and the fleet's where somebody brought them.

    Without this calibration's own probes: those are added while it goes on. ValueError where promoted ones are damaged.
    """
    promoted, fleet = read_promoted(), _of_fleet()
    rows: list[QualityRow] = [*published_rows(), *_not_own(rows_of_runs(), calibration)]
    rows += new_rows(_not_own(promoted.rows, calibration), rows)
    others = _plausible(new_rows(fleet.rows, rows), rows)
    return RowsRead((*rows, *others.rows), (*promoted.notes, *fleet.notes, *others.notes))


def _of_fleet() -> RowsRead:
    """A snapshot that cannot be read at all costs the calibration what others measured, no more."""
    if not fleet_rows_file().exists():
        return RowsRead(())
    try:
        return read_rows(fleet_rows_file())
    except ValueError as error:
        return RowsRead((), (f"calibrating without the fleet's runs: {error}",))


def _plausible(rows: Sequence[QualityRow], known: Sequence[QualityRow]) -> RowsRead:
    """Of others' rows those that score as well as what is known here allows; one that is far too good misleads a search
    more than many good ones help it."""
    tables = {name: QualityTable(tuple(known), dataset=name) for name in {row.dataset for row in rows}}
    kept, notes = [], []
    for row in rows:
        said = tables[row.dataset].predict(row.shape, row.num_tokens)
        if row.val_bpb < min(said.val_bpb / 2, said.val_bpb - UNLIKELY_SPREADS * said.spread):
            expected = f"the table expects {said.val_bpb:.4f} +- {said.spread:.4f}"
            notes.append(f"{fleet_rows_file().name}: {row.source} left out, val_bpb {row.val_bpb:.4f} where {expected}")
        else:
            kept.append(row)
    return RowsRead(tuple(kept), tuple(notes))


def _not_own(rows: Sequence[QualityRow], calibration: Calibration) -> list[QualityRow]:
    return [row for row in rows if not row.source.startswith(calibration.id)]


def new_rows(rows: Sequence[QualityRow], known: Sequence[QualityRow]) -> list[QualityRow]:
    """Those whose source is not known yet: this machine's runs are among the fleet's too."""
    sources = {row.source for row in known}
    return [row for row in rows if row.source not in sources]


def said(notes: Sequence[str]) -> tuple[str, ...]:
    """The first few, each in one line, and how many more there are."""
    first = tuple(one_line(note) for note in notes[:MOST_NOTES])
    more = len(notes) - len(first)
    return (*first, f"{more} more rows left out") if more else first


def table_for(calibration: Calibration, rows: Sequence[QualityRow]) -> QualityTable:
    dataset = open_reference(calibration.dataset)
    return QualityTable(
        tuple(rows),
        dataset=calibration.dataset.fingerprint,
        vocab_size=dataset.vocab_size,
        corpus=dataset.manifest.corpus,
        hardware_key=calibration.hardware_key,
    )
