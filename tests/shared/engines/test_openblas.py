"""OpenBLAS is put before MLX when it is there, and what happened is said."""

import ctypes
import sys

import pytest

from shared.engines import openblas


@pytest.fixture(autouse=True)
def linux_before_mlx(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delitem(sys.modules, "mlx.core", raising=False)


def test_a_library_that_is_there_is_loaded_for_all_to_see(monkeypatch):
    loaded = []
    monkeypatch.setattr(ctypes, "CDLL", lambda name, mode: loaded.append((name, mode)))
    assert openblas._load().chosen == "openblas"
    assert loaded == [("libopenblas.so.0", ctypes.RTLD_GLOBAL)]


def test_a_machine_without_it_is_told_what_to_install(monkeypatch):
    def missing(name, mode):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    choice = openblas._load()
    assert choice.chosen == "reference"
    assert "apt install libopenblas0" in choice.reason


def test_after_mlx_it_is_too_late(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlx.core", object())
    assert openblas._load().reason == "mlx was imported before the engine was opened"


def test_macos_brings_its_own(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert openblas._load().chosen == "accelerate"
