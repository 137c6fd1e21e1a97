"""Which kernels come with this checkout: what is not on the list is charged to every recipe."""

import shutil
import subprocess

import pytest

from shared.runs import shipped
from shared.settings import CHECKOUT


def test_the_list_names_every_kernel_that_git_knows_as_it_is_now():
    try:
        argv = ["git", "-C", str(CHECKOUT), "ls-files", "kernels/*.py"]
        known = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git, or no checkout of it")
    lines = shipped.list_kernels().splitlines()
    now = {line for line in lines if f"kernels/{line.split()[1]}" in known}
    listed = set(shipped.KERNEL_LIST.read_text().splitlines())
    assert now == listed, "read what is new or changed in kernels/, then: make kernel-list"


def test_a_kernel_that_was_added_or_edited_is_not_on_the_list(tmp_path, monkeypatch):
    copied = tmp_path / "kernels"
    shutil.copytree(shipped.KERNELS, copied, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(shipped, "KERNELS", copied)
    before = shipped.other_kernels()
    new, edited = copied / "rmsnorm" / "torch_new.py", copied / "rmsnorm" / "torch_reference.py"
    new.write_text("NOTES = 'weights'\n")
    edited.write_text(edited.read_text() + "# weights\n")
    assert set(shipped.other_kernels()) - set(before) == {new, edited}
