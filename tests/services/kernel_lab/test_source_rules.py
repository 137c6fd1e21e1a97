"""Whatever way a module can be reached that no kernel needs, the rules for sources see it."""

from importlib.machinery import EXTENSION_SUFFIXES

import pytest

from services.kernel_lab.source_rules import find_breach, find_breach_with_imports
from shared.files import sha256_file

WAYS = {
    "imported from a library": "from torch import os",
    "imported under another name": "from torch import sys as s",
    "imported with an underscore": "from collections import _sys",
    "an attribute with an underscore": "import collections\ncollections._sys",
    "getattr": "import torch\ngetattr(torch, 'sys')",
    "getattr of a name that is put together": "import torch\ngetattr(torch, 's' + 'ys')",
    "getattr handed on": "import functools, torch\nfunctools.reduce(getattr, ['sys'], torch)",
    "attrgetter": "import operator, torch\noperator.attrgetter('sys.modules')(torch)",
    "a pattern": "import torch\nmatch torch:\n    case object(sys=s):\n        pass",
    "__getattribute__": "import torch\ntorch.__getattribute__('sys')",
    "the interpreter's own names": "x = __builtins__['open']",
    "the loader of this file": "__loader__.get_data('x')",
    "builtins of another module": "import torch\ntorch.fx.graph.builtins.open('x')",
    "a function of the catalog": "from kernels.catalog import import_module",
    "a module of the catalog": "from kernels.catalog import metadata",
    "the catalog beside a kernel": "import kernels.rmsnorm.torch_reference\nkernels.catalog",
    "a load that is not Triton's": "import triton.language as tl\ntl = object()\ntl.load()",
    "a load of a parameter": "def f(tl):\n    tl.load()",
    "a load of nobody knows what": "tl.load()",
    "a hook in the body of a class": "class A:\n    __torch_function__ = None",
    "an asynchronous hook": "async def __torch_dispatch__():\n    pass",
    "a thread of PyTorch": "import torch\ntorch.jit.fork(print)",
    "the precision of all products": "import torch\ntorch.set_float32_matmul_precision('medium')",
    "a switch of cuBLAS": "import torch\ntorch._C._set_cublas_allow_bf16_reduced_precision_reduction(True)",
    "a switch of a back end": "import torch\ntorch.backends.cuda.matmul.allow_tf32 = True",
    "a switch under another name": "import torch as t\nt.use_deterministic_algorithms(True)",
    "a switch that is imported": "from torch import set_num_threads",
    "a switch of an imported part": "from torch import backends",
    "all names of torch": "from torch import *",
    "a switch by getattr": "import torch\ngetattr(torch, 'manual_seed')(1)",
    "a switch as an op": "import torch\ntorch.ops.aten.set_grad_enabled(False)",
    "a switch of a context that is never left": "import torch\ntorch.no_grad().__enter__()",
    "torch that is handed on": "import torch\n(t,) = (torch,)\nt.set_num_threads(1)",
    "a part of torch that is handed on": "import torch\nn = torch.nn\nn.init",
    "torch of another module": "import torch.nn.functional as F\nF.torch.set_num_threads(1)",
    "torch of a file of kernels": "from kernels.rmsnorm.torch_reference import torch",
    "a device of MLX": "import mlx.core as mx\nmx.set_default_device(mx.cpu)",
    "the seed of NumPy": "import numpy as np\nnp.random.seed(1)",
    "what made an input": "def f(x):\n    return x.grad_fn",
    "whose weight it is": "import torch\ndef f(w):\n    return type(w) is torch.nn.Parameter",
    "annotations that are run": "import typing\ntyping.get_type_hints(print)",
}
HARMLESS = {
    "getattr of a name that is no module": "import torch\ngetattr(torch, 'float8_e4m3fn', None)",
    "a load of Triton": "import triton.language as tl\ndef kernel(x):\n    return tl.load(x)",
    "a load of Triton's language": "from triton import language as tl\ntl.load(0)",
    "a load of Triton that is imported": "from triton.language import load",
    "a function of its own": "import torch\nclass F(torch.autograd.Function):\n    pass\nF.apply",
    "a registered op": "import torch\n@torch.library.custom_op('autoresearch::mine', mutates_args=())\ndef f(): ...",
    "no gradient for a while": "import torch\nwith torch.no_grad():\n    torch.ops.aten.sigmoid_backward",
    "functions of a module": "from torch.nn import functional as F\nF.rms_norm",
    "a type in an annotation": "from torch import Tensor\ndef f(x: Tensor) -> Tensor: ...",
    "evaluation mode": "x = {}.get('eval')",
}


@pytest.mark.parametrize("name", WAYS)
def test_a_way_round_the_rules_is_found(name):
    assert find_breach(WAYS[name].encode())


@pytest.mark.parametrize("name", HARMLESS)
def test_what_a_kernel_may_do_is_no_breach(name):
    assert find_breach(HARMLESS[name].encode()) == ""


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with an op of its own, of which one file is shipped. checkout(name, text) writes another."""
    for module in ("fixed", "source_rules"):
        monkeypatch.setattr(f"services.kernel_lab.{module}.CHECKOUT", tmp_path)
    listed = frozenset({sha256_file(write(tmp_path, "reads", "import os\n"))})
    monkeypatch.setattr("services.kernel_lab.source_rules.listed_kernels", lambda: listed)
    return lambda name, text: write(tmp_path, name, text)


def write(tree, name, text):
    file = tree / "kernels" / "an_op" / f"{name}.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_what_a_candidate_imports_from_kernels_is_judged_like_it(checkout):
    checkout("helper", "import sys\n")
    checkout("middle", "from kernels.an_op.helper import sys_of\n")
    for source in (b"from kernels.an_op.helper import x", b"from kernels.an_op import middle"):
        found = find_breach_with_imports(source, "an_op")
        assert found == "kernels/an_op/helper.py, which it imports and which is not shipped, line 1: imports sys, " \
            "which no kernel needs"  # fmt: skip


def test_a_shipped_file_has_been_read_by_a_person_and_is_not_judged_again(checkout):
    assert find_breach_with_imports(b"from kernels.an_op.reads import x", "an_op") == ""
    checkout("reads", "import os\n# edited\n")
    assert "kernels/an_op/reads.py" in find_breach_with_imports(b"from kernels.an_op.reads import x", "an_op")


def test_a_folder_that_runs_code_when_it_is_imported_from_is_judged_too(checkout):
    checkout("fine", "x = 1\n")
    assert find_breach_with_imports(b"from kernels.an_op.fine import x", "an_op") == ""
    checkout("__init__", "import sys\n")
    assert "kernels/an_op/__init__.py" in find_breach_with_imports(b"from kernels.an_op.fine import x", "an_op")


@pytest.mark.parametrize("name", ["compiled.so", f"fine{EXTENSION_SUFFIXES[0]}"])
def test_what_cannot_be_read_is_not_imported(checkout, name):
    file = checkout("fine", "x = 1\n")
    (file.parent / name).touch()
    source = f"from kernels.an_op import {name.split('.')[0]}".encode()
    assert "holds no Python file to read" in find_breach_with_imports(source, "an_op")


def test_an_import_by_place_is_none_that_the_rules_can_follow():
    assert find_breach(b"from .math import x")


@pytest.mark.parametrize(
    "text",
    [
        'import torch\ntorch.library.register_autograd("aten::relu", lambda ctx, dy: dy)',
        "import torch\ntorch.library.register_autograd(torch.ops.aten.relu.default, lambda ctx, dy: dy)",
        'import torch\n@torch.library.custom_op("aten::mine", mutates_args=())\ndef f(x: torch.Tensor) -> None: ...',
        'from torch.library import custom_op as made\nmade("other::mine", mutates_args=())',
        'import torch\nnames = ["autoresearch::x"]\ntorch.library.custom_op(names[0], mutates_args=())',
        'import torch\nregister = torch.library.register_fake\nregister("aten::relu")',
        'import torch\ntorch.library.register_fake(op="aten::relu")',
    ],
)
def test_nothing_is_registered_for_what_is_not_its_own(text):
    assert "torch.library." in find_breach(text.encode())


def test_a_registered_function_of_its_own_gets_its_gradient():
    text = """
import torch

@torch.library.custom_op("autoresearch::mine", mutates_args=())
def forward(x: torch.Tensor) -> torch.Tensor:
    return x.clone()

torch.library.register_autograd(forward, lambda ctx, dy: dy)
torch.library.register_autograd("autoresearch::mine", lambda ctx, dy: dy)
"""
    assert find_breach_with_imports(text.encode(), "rmsnorm") == ""


def test_a_name_that_a_kernel_of_another_op_registers_is_refused():
    text = b'import torch\ntorch.library.register_autograd("autoresearch::residual_mlp", lambda ctx, dy: dy)\n'
    assert "line 2: registers autoresearch::residual_mlp" in find_breach_with_imports(text, "rmsnorm")
    assert find_breach_with_imports(text, "residual_mlp") == ""
