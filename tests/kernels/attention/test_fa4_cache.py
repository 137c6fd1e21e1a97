"""Kernels that an image brings reach the folder the package uses, and no other architecture's."""

import os
import shutil
from pathlib import Path

import pytest

from kernels.attention.fa4_cache import open_cache


@pytest.fixture
def brought(tmp_path, monkeypatch) -> Path:
    """An image's kernels of two architectures; this process's cache is elsewhere."""
    monkeypatch.setenv("FLASH_ATTENTION_CUTE_DSL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("FLASH_ATTENTION_CUTE_DSL_CACHE_ENABLED", "0")
    for arch in ("sm_90", "sm_121"):
        kernel = tmp_path / "brought" / arch / "sources" / "fwd" / "1.o"
        kernel.parent.mkdir(parents=True)
        kernel.write_text(arch)
    return tmp_path / "brought"


def test_an_image_s_kernels_are_where_the_package_will_look_for_them(brought):
    folder = open_cache("sm_121", brought)
    assert (folder / "sources/fwd/1.o").read_text() == "sm_121"
    assert os.environ["FLASH_ATTENTION_CUTE_DSL_CACHE_DIR"] == str(folder)
    assert os.environ["FLASH_ATTENTION_CUTE_DSL_CACHE_ENABLED"] == "1"


def test_architectures_keep_their_kernels_apart(brought, monkeypatch):
    root = os.environ["FLASH_ATTENTION_CUTE_DSL_CACHE_DIR"]
    first = open_cache("sm_121", brought)
    monkeypatch.setenv("FLASH_ATTENTION_CUTE_DSL_CACHE_DIR", root)
    second = open_cache("sm_90", brought)
    assert (first.name, second.name) == ("sm_121", "sm_90")
    assert first.parent == second.parent == Path(root)


def test_opening_the_cache_again_changes_nothing(brought):
    folder = open_cache("sm_121", brought)
    (folder / "sources/fwd/1.o").write_text("compiled here")
    assert open_cache("sm_121", brought) == folder
    assert (folder / "sources/fwd/1.o").read_text() == "compiled here"


def test_an_image_without_kernels_is_no_error(brought):
    assert list(open_cache("sm_100", brought).parent.rglob("*.o")) == []


def test_a_process_without_a_cache_takes_a_folder_nobody_else_can_write(brought, monkeypatch):
    monkeypatch.delenv("FLASH_ATTENTION_CUTE_DSL_CACHE_DIR")
    folder = open_cache("sm_121", brought)
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(folder.parent)
