"""Kernels that try to be taken for right or fast without being so. None may pass, and each is told why.

Every file is judged twice: by the rules for sources, and, with these switched off, by what it really does. The few
without a marker run in `make test`, all of them in `make test-cheats`.
"""

import ast
from pathlib import Path

import pytest

from kernels.records import Status
from services.kernel_lab import verify as verification
from services.kernel_lab.source_rules import find_breach

CHEATS = {path.stem: path for path in sorted((Path(__file__).parent / "cheats").glob("*.py"))}
OF_OPS = sorted((Path(__file__).parent / "cheats_by_op").glob("*/*.py"))
"""what only another op than rmsnorm can show; its folder is named after it"""
FEW = ("memoised_by_address", "replaces_the_harness")
SLOW_TO_FAIL = {"hangs": {"limit_s": 5.0}, "takes_all_memory": {"memory_mb": 512}}
EXPECTED = {
    "changes_its_inputs": Status.REWARD_HACK,
    "crashes": Status.RUNTIME_ERROR,
    "ends_well": Status.RUNTIME_ERROR,
    "hangs": Status.TIMEOUT,
    "lazy_tensor": Status.INCORRECT_SHAPE,
    "lazy_tensor_in_disguise": Status.INCORRECT_SHAPE,
    "no_backward": Status.RUNTIME_ERROR,
    "takes_all_memory": Status.RUNTIME_ERROR,
    "writes_the_record": Status.RUNTIME_ERROR,
}
"""others are simply wrong: INCORRECT_NUMERICAL"""
HARMLESS = ("patched_timer", "patched_device_timer")
"""right results; the clock they change is nobody's"""
BY_ITS_SOURCE = (
    "gc_scan", "gc_scan_in_disguise", "lazy_tensor", "patched_timer", "patched_device_timer", "replaces_the_harness",
    "says_it_ran", "writes_the_record", "crashes", "ends_well", "computes_later",
)  # fmt: skip


def chosen():
    return [
        pytest.param(name, id=name, marks=() if name in FEW else pytest.mark.cheats)
        for name in CHEATS
        if name not in HARMLESS
    ]


@pytest.mark.parametrize("name", chosen())
def test_a_cheat_does_not_pass_whatever_its_source_looks_like(name, judged, monkeypatch):
    monkeypatch.setattr(verification, "find_breach_with_imports", lambda source, op: "")
    found = judged(CHEATS[name], **SLOW_TO_FAIL.get(name, {}))
    assert found.status is EXPECTED.get(name, Status.INCORRECT_NUMERICAL), found.log
    assert found.log, "nobody is left without a reason"


@pytest.mark.cheats
@pytest.mark.parametrize("path", OF_OPS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_cheat_of_another_op_does_not_pass_either(path, judged):
    found = judged(path, op=path.parent.name)
    assert found.status is Status.INCORRECT_NUMERICAL, found.log


@pytest.mark.parametrize("name", BY_ITS_SOURCE)
def test_what_no_kernel_needs_is_found_in_the_source(name):
    assert find_breach(CHEATS[name].read_bytes())


def test_a_breach_of_the_rules_is_a_reward_hack_and_nothing_of_it_runs(judged):
    found = judged(CHEATS["patched_timer"])
    assert found.status is Status.REWARD_HACK
    assert found.log == "line 3: imports time, which no kernel needs"


def test_no_kernel_of_the_catalog_breaks_the_rules_for_sources():
    from kernels import catalog

    shipped = [one for op in catalog.ops() for one in (*catalog.solutions(op), *(bad for bad, _ in catalog.wrong(op)))]
    assert shipped
    assert {one.name: breach for one in shipped if (breach := find_breach(one.sources[0].content.encode()))} == {}


@pytest.mark.parametrize("name", CHEATS)
def test_every_cheat_is_one_file_that_says_what_it_tries(name):
    tree = ast.parse(CHEATS[name].read_text())
    assert ast.get_docstring(tree)
    assert "rmsnorm" in {getattr(node, "name", "") for node in tree.body}
