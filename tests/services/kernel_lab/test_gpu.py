"""What only a CUDA device can show: streams, its own clock, its cache. make test-gpu"""

import pytest

from kernels import catalog
from kernels.records import Status
from services.kernel_lab import bench
from services.kernel_lab import verify as verification
from services.kernel_lab.candidate import Limits
from services.kernel_lab.desk import scratch
from services.kernel_lab.subject import of_catalog
from services.kernel_lab.surroundings import surroundings
from services.kernel_lab.verify import verify
from shared.kernel_lab.job import Bench
from tests.services.kernel_lab.conftest import subject_from

pytestmark = pytest.mark.gpu
LIMITS = Limits(180.0, 8192)
WRONG_STREAM = '''"""Computes on a stream of its own and does not wait for it."""

import torch

side = torch.cuda.Stream()


def rmsnorm(x):
    y = torch.zeros_like(x) + 0 * x
    with torch.cuda.stream(side):
        torch.cuda._sleep(20_000_000)
        y.data.copy_(torch.nn.functional.rms_norm(x, (x.shape[-1],)))
    return y
'''
TRITON = [one.name for op in catalog.ops() for one in catalog.solutions(op) if "/triton_" in one.name]


@pytest.fixture
def around(home, tmp_path):
    place = surroundings("cuda:0", tmp_path / "work")
    with scratch(place.work):
        yield place


def test_a_kernel_on_a_stream_of_its_own_is_caught_by_its_unfinished_results(around, tmp_path, monkeypatch):
    monkeypatch.setattr(verification, "find_breach_with_imports", lambda source, op: "")
    (tmp_path / "kernel.py").write_text(WRONG_STREAM)
    found = verify(subject_from(tmp_path / "kernel.py"), around, LIMITS)[-1].evaluation
    assert found.status is Status.INCORRECT_NUMERICAL


@pytest.mark.parametrize("name", TRITON)
def test_a_triton_kernel_is_right_on_the_device(around, name):
    found = verify(of_catalog(*name.split("/")), around, LIMITS)[-1].evaluation
    assert found.status is Status.PASSED, found.log


@pytest.mark.parametrize("name", TRITON)
def test_a_triton_kernel_is_timed_below_the_limit_of_the_device(around, name):
    subject = of_catalog(*name.split("/"))
    workloads, cut = bench.pick_workloads(subject, around, None)
    for found in bench.measure(subject, workloads, around, Bench(candidate=name, limit_s=300)):
        print(name, found.trace.workload.uuid, found.trace.evaluation.performance)
        assert found.trace.evaluation.status is Status.PASSED, found.trace.evaluation.log
    assert cut == ""
