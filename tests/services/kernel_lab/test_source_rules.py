"""Whatever way a module can be reached that no kernel needs, the rules for sources see it."""

import pytest

from services.kernel_lab.source_rules import find_breach

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
    "annotations that are run": "import typing\ntyping.get_type_hints(print)",
}
HARMLESS = {
    "getattr of a name that is no module": "import torch\ngetattr(torch, 'float8_e4m3fn', None)",
    "a load of Triton": "import triton.language as tl\ndef kernel(x):\n    return tl.load(x)",
    "a load of Triton's language": "from triton import language as tl\ntl.load(0)",
    "a load of Triton that is imported": "from triton.language import load",
    "evaluation mode": "x = {}.get('eval')",
}


@pytest.mark.parametrize("name", WAYS)
def test_a_way_round_the_rules_is_found(name):
    assert find_breach(WAYS[name].encode())


@pytest.mark.parametrize("name", HARMLESS)
def test_what_a_kernel_may_do_is_no_breach(name):
    assert find_breach(HARMLESS[name].encode()) == ""
