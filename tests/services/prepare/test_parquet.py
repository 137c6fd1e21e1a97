"""The parquet corpus: what is read, what is held out, and what is said about bad files."""

import os

import pyarrow as pa
import pytest

from services.prepare.parquet import parquet_corpus
from tests.services.prepare.tiny_corpus import write_parquet

TEXTS = [f"document {i}" for i in range(40)]


@pytest.fixture(autouse=True)
def _own_home(home):
    return home


def texts(corpus, split):
    return [text for shard in corpus.of(split) for _, group in shard.documents() for text in group]


def groups(shard):
    found: dict[int, list[str]] = {}
    for group, documents in shard.documents():
        found.setdefault(group, []).extend(documents)
    return list(found.values())


def open_it(directory, report, column="text"):
    return parquet_corpus(str(directory), column, report)


def test_files_are_taken_in_order_of_their_paths_and_the_last_is_validation(tmp_path, report):
    for name in ("z/a", "b", "a/c", ".hidden/x"):
        write_parquet(tmp_path / f"{name}.parquet", [name])
    corpus = open_it(tmp_path, report)
    assert [shard.name for shard in corpus.records] == ["a/c.parquet", "b.parquet", "z/a.parquet"]
    assert texts(corpus, "train") == ["a/c", "b"]
    assert texts(corpus, "validation") == ["z/a"]


@pytest.mark.parametrize("row_group_size", [1, 7, 40])
def test_a_single_file_gives_its_last_rows_to_validation(tmp_path, report, row_group_size):
    write_parquet(tmp_path / "a.parquet", TEXTS, row_group_size)
    corpus = open_it(tmp_path, report)
    assert texts(corpus, "train") == TEXTS[:38]
    assert texts(corpus, "validation") == TEXTS[38:]


def test_two_documents_are_the_least(tmp_path, report):
    write_parquet(tmp_path / "a.parquet", TEXTS[:2])
    assert texts(open_it(tmp_path, report), "validation") == TEXTS[1:2]
    write_parquet(tmp_path / "a.parquet", TEXTS[:1])
    with pytest.raises(ValueError, match="has 1 rows: two at least"):
        open_it(tmp_path, report)


def test_row_groups_stay_apart_and_large_ones_come_in_pieces(tmp_path, report):
    write_parquet(tmp_path / "a.parquet", TEXTS * 20, row_group_size=300)
    write_parquet(tmp_path / "b.parquet", TEXTS)
    shard = open_it(tmp_path, report).shards[0]
    assert [len(group) for group in groups(shard)] == [300, 300, 200]
    assert max(len(piece) for _, piece in shard.documents()) <= 256


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.string_view()]
)
def test_every_kind_of_text_column_is_read_without_its_nulls(tmp_path, report, kind):
    column = pa.array(["a", None, "", "d", "e"]).cast(kind)
    write_parquet(tmp_path / "a.parquet", pa.table({"id": range(5), "content": column}))
    write_parquet(tmp_path / "b.parquet", ["v"], column="content")
    assert texts(open_it(tmp_path, report, "content"), "train") == ["a", "", "d", "e"]


def test_a_missing_column_names_those_there_are(tmp_path, report):
    write_parquet(tmp_path / "a.parquet", pa.table({"body": ["x"], "id": [1]}))
    with pytest.raises(ValueError, match=r"no column 'text'; its columns are body, id"):
        open_it(tmp_path, report)
    with pytest.raises(ValueError, match=r"holds int64, not text; its columns are body \(string\), id"):
        open_it(tmp_path, report, "id")


def test_an_empty_or_missing_directory_says_what_belongs_there(tmp_path, report):
    with pytest.raises(ValueError, match=r"no \*\.parquet file in"):
        open_it(tmp_path, report)
    with pytest.raises(ValueError, match="is not a directory"):
        open_it(tmp_path / "nowhere", report)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"this is text", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_a_file_that_is_not_parquet_is_named(tmp_path, report, content):
    write_parquet(tmp_path / "a.parquet", TEXTS)
    (tmp_path / "b.parquet").write_bytes(content)
    with pytest.raises(ValueError, match=r"b\.parquet cannot be read as parquet .* replace or remove it"):
        open_it(tmp_path, report)


def test_a_truncated_file_is_named(tmp_path, report):
    path = write_parquet(tmp_path / "a.parquet", TEXTS * 100)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(ValueError, match=r"a\.parquet cannot be read"):
        open_it(tmp_path, report)


def test_damage_inside_a_file_is_named_when_it_is_read(tmp_path, report):
    path = write_parquet(tmp_path / "a.parquet", TEXTS * 100)
    content = bytearray(path.read_bytes())
    content[4:400] = b"\xff" * 396
    path.write_bytes(content)
    write_parquet(tmp_path / "b.parquet", TEXTS)
    with pytest.raises(ValueError, match=r"a\.parquet cannot be read"):
        texts(open_it(tmp_path, report), "train")


def test_text_that_is_not_utf8_is_named(tmp_path, report):
    broken = pa.array([b"\xff\xfe"], pa.binary()).view(pa.string())
    write_parquet(tmp_path / "a.parquet", pa.table({"text": broken}))
    write_parquet(tmp_path / "b.parquet", TEXTS)
    with pytest.raises(ValueError, match=r"a\.parquet cannot be read"):
        texts(open_it(tmp_path, report), "train")


def test_other_content_under_the_same_name_is_another_shard(tmp_path, report):
    write_parquet(tmp_path / "a.parquet", TEXTS)
    write_parquet(tmp_path / "b.parquet", TEXTS)
    before = open_it(tmp_path, report).records
    write_parquet(tmp_path / "a.parquet", TEXTS[::-1])
    after = open_it(tmp_path, report).records
    assert before[0] != after[0]
    assert before[1] == after[1]


@pytest.mark.parametrize("how", ["renamed over", "written into", "with the old time", "removed"])
@pytest.mark.parametrize("single", [True, False])
def test_a_file_that_is_replaced_before_it_was_read_to_its_end_is_refused(tmp_path, report, how, single):
    path = write_parquet(tmp_path / "x" / "a.parquet", TEXTS * 100)
    if not single:
        write_parquet(tmp_path / "x" / "b.parquet", TEXTS)
    corpus = open_it(tmp_path / "x", report)
    before = path.stat()
    other = write_parquet(tmp_path / "elsewhere" / "a.parquet", TEXTS[::-1] * 100)
    if how == "removed":
        path.unlink()
    elif how == "renamed over":
        other.replace(path)
    else:
        path.write_bytes(other.read_bytes())
        if how == "with the old time":
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ValueError, match=r"a\.parquet was changed or replaced while it was prepared"):
        texts(corpus, "train")


def test_a_file_that_is_replaced_while_it_is_read_is_refused(tmp_path, report):
    path = write_parquet(tmp_path / "x" / "a.parquet", TEXTS * 100)
    write_parquet(tmp_path / "x" / "b.parquet", TEXTS)
    documents = open_it(tmp_path / "x", report).shards[0].documents()
    next(documents)
    write_parquet(tmp_path / "elsewhere" / "a.parquet", TEXTS[::-1] * 100).replace(path)
    with pytest.raises(ValueError, match=r"a\.parquet was changed or replaced"):
        list(documents)


def test_other_content_with_the_size_and_time_of_the_old_is_another_shard(tmp_path, report):
    path = write_parquet(tmp_path / "a.parquet", TEXTS)
    write_parquet(tmp_path / "b.parquet", TEXTS)
    before, state = open_it(tmp_path, report).records, path.stat()
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert path.stat().st_size == state.st_size
    assert open_it(tmp_path, report).records[0] != before[0]
