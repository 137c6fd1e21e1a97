"""The quality table: val_bpb of a shipped recipe by shape and tokens, from every run that anybody finished.

Quality does not depend on hardware, throughput does: a new machine measures how fast it is and looks the rest up here.
"""

from shared.quality.rows import (
    PUBLISHED_DATASET,
    PublishedRun,
    QualityRow,
    RowsRead,
    published_rows,
    published_runs,
    read_rows,
    rows_of_results,
    rows_of_runs,
    write_rows,
)
from shared.quality.table import LEARNED_NOTHING_BPB, Prediction, Predictions, QualityTable

__all__ = [
    "LEARNED_NOTHING_BPB",
    "PUBLISHED_DATASET",
    "Prediction",
    "Predictions",
    "PublishedRun",
    "QualityRow",
    "QualityTable",
    "RowsRead",
    "published_rows",
    "published_runs",
    "read_rows",
    "rows_of_results",
    "rows_of_runs",
    "write_rows",
]
