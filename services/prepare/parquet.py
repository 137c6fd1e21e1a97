"""The `parquet:<dir>` corpus, and how every parquet shard is read: in small batches, whatever its size.

The last file is the validation split. A single file gives its last rows instead. Files are read, never written.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from services.prepare.corpora import Corpus, CorpusShard, Documents
from services.prepare.report import Report
from services.prepare.unchanged import Fixed
from shared.data.dataset import Shard, Split
from shared.data.rows import remembered_sha256
from shared.files import sha256_bytes
from shared.settings import settings

BATCH_ROWS = 256
READ_BUFFER_BYTES = 2**20
HELD_OUT_FRACTION = 0.05


def parquet_corpus(directory: str, column: str, report: Report) -> Corpus:
    """Files under `directory` in the order of their names. ValueError says what to put or repair there."""
    root = Path(directory)
    if not root.is_dir():
        raise ValueError(f"{root} is not a directory: `--corpus parquet:<dir>` takes the directory of the files")
    paths = sorted(path for path in root.rglob("*.parquet") if not _hidden(path.relative_to(root)))
    if not paths:
        raise ValueError(f"no *.parquet file in {root} or below it: put files with a text column there")
    fixed = [Fixed.now(path) for path in paths]
    num_rows = [num_text_rows(path, column) for path in paths]
    if len(paths) == 1:
        return Corpus(f"parquet:{column}", _held_out(fixed[0], root, num_rows[0], column))
    shards = []
    with report.stage("corpus: hashing", len(paths), "files") as advance:
        for file, rows in zip(fixed, num_rows, strict=True):
            path = file.path
            split: Split = "validation" if path == paths[-1] else "train"
            name = path.relative_to(root).as_posix()
            shard = Shard(name=name, split=split, num_bytes=file.num_bytes, sha256=_sha256(file))
            shards.append(parquet_shard(shard, file, column, 0, rows))
            advance(1)
    return Corpus(f"parquet:{column}", tuple(shards))


def parquet_shard(shard: Shard, file: Fixed, column: str, start: int, stop: int) -> CorpusShard:
    """Rows start .. stop of a file. Reading ends in a ValueError when the file is not the one that was hashed."""
    return CorpusShard(shard, stop - start, partial(_read_unchanged, file, column, start, stop))


def _read_unchanged(file: Fixed, column: str, start: int, stop: int) -> Documents:
    """Asked before and after: whoever stops in between keeps nothing that is not read again as a whole."""
    file.check()
    yield from read_documents(file.path, column, start, stop)
    file.check()


def read_documents(path: Path, column: str, start: int, stop: int) -> Documents:
    """Texts of rows start .. stop by row group; nulls are skipped. Memory is bounded by a batch of rows."""
    with blaming(path), _open(path) as file:
        first = 0
        for group in range(file.num_row_groups):
            end = first + file.metadata.row_group(group).num_rows
            if first < stop and end > start:
                yield from ((group, texts) for texts in _texts(file, group, column, start - first, stop - first))
            first = end


def _texts(file: pq.ParquetFile, group: int, column: str, start: int, stop: int) -> Iterator[list[str]]:
    position = 0
    for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=[column], use_threads=False):
        begin, end = max(start - position, 0), min(stop - position, batch.num_rows)
        position += batch.num_rows
        if begin < end:
            yield [text for text in batch.column(0).slice(begin, end - begin).to_pylist() if text is not None]


@contextmanager
def blaming(path: Path) -> Iterator[None]:
    """Turns what pyarrow raises on a bad file into a ValueError that names it."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} cannot be read as parquet ({reason}): replace or remove it") from None


def _open(path: Path) -> pq.ParquetFile:
    # Without pre-buffering a column chunk is streamed, so one giant row group costs no more than a small one.
    return pq.ParquetFile(path, pre_buffer=False, buffer_size=READ_BUFFER_BYTES)


def num_text_rows(path: Path, column: str) -> int:
    """Rows of a file whose `column` holds text. ValueError names the columns there are."""
    with blaming(path), _open(path) as file:
        schema, num_rows = file.schema_arrow, file.metadata.num_rows
    if column not in schema.names:
        raise ValueError(f"{path} has no column {column!r}; its columns are {', '.join(schema.names) or '(none)'}")
    kind = schema.field(column).type
    if not _is_text(kind.value_type if pa.types.is_dictionary(kind) else kind):
        raise ValueError(f"column {column!r} of {path} holds {kind}, not text; its columns are {_described(schema)}")
    return num_rows


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _described(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema)


def _held_out(file: Fixed, root: Path, num_rows: int, column: str) -> tuple[CorpusShard, ...]:
    """One rule for any row groups: the last 5 % of the rows, at least one, whole row groups or not."""
    boundary = num_rows - max(1, round(num_rows * HELD_OUT_FRACTION))
    if boundary < 1:
        raise ValueError(f"{file.path} has {num_rows} rows: two at least are needed, one of them for validation")
    digest, size, name = _sha256(file), file.num_bytes, file.path.relative_to(root).as_posix()
    ranges: dict[Split, tuple[int, int]] = {"train": (0, boundary), "validation": (boundary, num_rows)}
    return tuple(
        parquet_shard(
            Shard(name=f"{name}[{start}:{stop}]", split=split, num_bytes=size, sha256=digest), file, column, start, stop
        )
        for split, (start, stop) in ranges.items()
    )


def _sha256(file: Fixed) -> str:
    """Stamps are kept at home, since the user's directory may be read-only, one for each change of the file."""
    stamps = settings().home / "corpora" / "stamps"
    stamps.mkdir(parents=True, exist_ok=True)
    key = f"{file.path.resolve()}\0{file.inode}\0{file.changed_ns}"
    return remembered_sha256(file.path, stamps / f"{sha256_bytes(key.encode())}.json")


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
