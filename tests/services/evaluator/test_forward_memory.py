"""Where the memory of a forward pass comes from."""

import os
import platform
import subprocess
import sys

import pytest

from services.evaluator.forward_process import environment
from tests.run_making import make_run

PASSES = """
import resource, torch
def a_pass():
    logits = torch.empty(2**26)
    for _ in range(3):
        logits = logits.fill_(1.0) + 1
for _ in range(6):
    a_pass()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
a_pass()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of the GNU C library")
def test_a_pass_on_a_cpu_gets_the_memory_of_the_one_before_it(workplace):
    variables = {**os.environ, **environment(make_run().job())}
    pages = subprocess.run([sys.executable, "-c", PASSES], env=variables, capture_output=True, text=True, check=True)
    assert int(pages.stdout) < 2**16  # of 4 KiB: those of one array; else of all four


def test_a_gpu_needs_no_such_setting(workplace):
    job = make_run().job().model_copy(update={"device": "cuda:0"})
    assert not any(name.startswith("MALLOC_") for name in environment(job))
