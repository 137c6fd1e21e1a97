"""The stdlib corpus: deterministic, offline, no installed packages, no text in both splits."""

from services.prepare.stdlib import DOCUMENT_CHARS, cut, split_of, stdlib_corpus


def documents(corpus, split):
    return [text for shard in corpus.of(split) for _, group in shard.documents() for text in group]


def make_library(directory):
    for i in range(60):
        path = directory / f"package{i % 7}" / f"module{i}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# module {i}\n\n" + f"def function_{i}():\n    return {i}\n\n" * 200)
    for excluded in ("site-packages", "package0/dist-packages", "package1/__pycache__", "config-3.11-x"):
        (directory / excluded).mkdir()
        (directory / excluded / "excluded.py").write_text("EXCLUDED")
    (directory / "_sysconfigdata_x.py").write_text("EXCLUDED")
    return directory


def test_the_running_python_gives_the_same_corpus_every_time():
    first, second = stdlib_corpus(), stdlib_corpus()
    assert first.records == second.records
    train, validation = (sum(map(len, documents(first, split))) for split in ("train", "validation"))
    assert 0.05 < validation / (train + validation) < 0.15
    assert any("pydoc" in text or "Related help topics" in text for text in documents(first, "train"))


def test_installed_packages_and_build_configuration_are_left_out(tmp_path):
    corpus = stdlib_corpus(make_library(tmp_path))
    assert not any("EXCLUDED" in text for split in ("train", "validation") for text in documents(corpus, split))


def test_a_file_is_in_one_split_as_a_whole(tmp_path):
    corpus = stdlib_corpus(make_library(tmp_path))
    functions = [
        {line for text in documents(corpus, split) for line in text.splitlines() if "function_" in line}
        for split in ("train", "validation")
    ]
    assert functions[0]
    assert functions[1]
    assert not functions[0] & functions[1]


def test_bytes_that_are_not_utf8_are_replaced(tmp_path):
    name = next(f"m{i}.py" for i in range(99) if split_of(f"m{i}.py") == "train")
    (tmp_path / name).write_bytes(b"caf\xe9 \xff\n")
    assert documents(stdlib_corpus(tmp_path), "train") == ["caf� �\n"]


def test_a_changed_character_changes_the_shard(tmp_path):
    before = stdlib_corpus(make_library(tmp_path)).records
    path = tmp_path / "package3" / "module3.py"
    path.write_text(path.read_text().replace("module 3", "module x"))
    after = stdlib_corpus(tmp_path).records
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1


def test_cutting_loses_nothing_and_prefers_blank_lines():
    text = "".join(f"def f{i}():\n    return {i}\n\n" for i in range(2000)) + "x" * 3 * DOCUMENT_CHARS
    pieces = list(cut(text))
    assert "".join(pieces) == text
    assert max(map(len, pieces)) <= DOCUMENT_CHARS
    assert all(piece.endswith("\n\n") for piece in pieces[:5])
    assert list(cut("")) == []
