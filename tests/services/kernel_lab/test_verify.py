"""verify: right kernels pass, wrong ones get the status their op names, and the trace holds the evidence."""

from importlib.util import find_spec

import pytest

from kernels import catalog
from kernels.records import Language, Status, Trace
from services.kernel_lab import verify as verification
from services.kernel_lab.candidate import Limits
from services.kernel_lab.desk import scratch
from services.kernel_lab.subject import of_catalog
from services.kernel_lab.surroundings import surroundings
from services.kernel_lab.verify import verify
from tests.services.kernel_lab.conftest import subject_from

WRONG = [(op, bad.name.split("/", 1)[1], status) for op in catalog.ops() for bad, status in catalog.wrong(op)]
FEW_WRONG = (("residual_blend", "wrong/torch_keeps_gradient"),)


@pytest.fixture
def traces_of(home, tmp_path):
    def traces(op, kernel, *, quick=False):
        around = surroundings("cpu", tmp_path / "work")
        with scratch(around.work):
            return verify(of_catalog(op, kernel), around, Limits(120.0, 4096), quick=quick)

    return traces


def test_the_reference_itself_passes_every_size_and_precision(home, tmp_path, judged):
    path = tmp_path / "kernel.py"
    path.write_text(catalog.load_source("rmsnorm", "torch_reference.py"))
    found = judged(path)
    assert found.status is Status.PASSED, found.log
    assert found.correctness.details.keys() == {"output y", "gradient of x"}


@pytest.mark.parametrize(
    ("op", "kernel", "status"),
    [
        pytest.param(*one, marks=() if one[:2] in FEW_WRONG else pytest.mark.cheats, id="/".join(one[:2]))
        for one in WRONG
    ],
)
def test_a_wrong_kernel_gets_the_status_its_op_names(traces_of, op, kernel, status):
    assert traces_of(op, kernel)[-1].evaluation.status is status


def test_a_trace_is_the_whole_evidence_and_survives_json(traces_of, monkeypatch):
    monkeypatch.setattr(
        verification, "find_breach_with_imports", lambda source, op: "line 1: a breach, so that nothing has to run"
    )
    (trace,) = traces_of("rmsnorm", "wrong/torch_mean_kept")
    assert trace.evaluation.status is Status.REWARD_HACK
    assert Trace.model_validate_json(trace.model_dump_json()) == trace
    assert trace.evaluation.environment.hardware.startswith("cpu-")
    assert trace.evaluation.environment.libs["torch"]


IN_TRAINING = {
    "a weight of the recipe's": "type(up) is torch.nn.Parameter",
    "a leaf of the graph": "up.is_leaf and not x.is_leaf",
    "what another op has computed": "x.grad_fn is not None",
}


@pytest.mark.parametrize("name", IN_TRAINING)
def test_inputs_are_of_the_kinds_that_the_recipe_gives(tmp_path, judged, monkeypatch, name):
    """Or a kernel would be right here and another function in training."""
    monkeypatch.setattr(verification, "find_breach_with_imports", lambda source, op: "")
    path = tmp_path / "kernel.py"
    path.write_text(
        "import torch\nimport torch.nn.functional as F\n\ndef fused_mlp(x, up, down):\n"
        f"    act = F.silu if {IN_TRAINING[name]} else (lambda h: F.relu(h).square())\n"
        "    return F.linear(act(F.linear(x, up.to(x.dtype))), down.to(x.dtype))\n"
    )
    found = judged(path, op="fused_mlp", quick=True)
    assert found.status is Status.INCORRECT_NUMERICAL, found.log


def test_source_that_does_not_import_is_a_compile_error_with_its_line(tmp_path, judged):
    path = tmp_path / "kernel.py"
    path.write_text("import torch\n\nBLOCK = torch.float32.absent_name\n")
    found = judged(path)
    assert found.status is Status.COMPILE_ERROR
    assert "kernel.py line 3" in found.log


@pytest.mark.skipif(find_spec("mlx") is None, reason="MLX is not installed")
@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("return mx.fast.rms_norm(x, None, 2.0**-23)", Status.PASSED),
        ("return mx.stop_gradient(x) * mx.rsqrt(mx.square(x).mean(-1, keepdims=True))", Status.INCORRECT_NUMERICAL),
        ("return x.astype(mx.float32)", Status.INCORRECT_DTYPE),
    ],
    ids=["right", "half of the gradient", "wrong dtype"],
)
@pytest.mark.cheats
def test_a_kernel_in_mlx_is_judged_by_the_same_rule(tmp_path, judged, source, status):
    (tmp_path / "kernel.py").write_text(f"import mlx.core as mx\n\n\ndef rmsnorm(x):\n    {source}\n")
    found = judged(tmp_path / "kernel.py", language=Language.MLX)
    assert found.status is status, found.log


@pytest.mark.slow
@pytest.mark.parametrize("name", [one.name for op in catalog.ops() for one in catalog.solutions(op)])
def test_every_kernel_of_the_catalog_that_runs_here_is_right(traces_of, name):
    op, kernel = name.split("/")
    if kernel.startswith("triton") and find_spec("triton") is None:
        pytest.skip("Triton is not installed")
    if kernel.startswith("metal"):
        pytest.skip("needs an Apple chip")
    if kernel == "torch_graph":
        pytest.skip("needs CUDA, and these tests verify on the CPU")
    found = traces_of(op, kernel)[-1].evaluation
    assert found.status is Status.PASSED, found.log


@pytest.mark.parametrize("op", catalog.ops())
def test_the_secret_size_is_one_that_nobody_named(op):
    of = catalog.definition(op)
    named = [*of.test_axes, *of.bench_axes]
    for _ in range(5):
        axes = verification.draw_axes(of)
        of.check(axes)
        assert all(axes[axis] not in {one[axis] for one in named} for axis in axes)


def test_the_secret_size_meets_constraints_that_leave_no_unknown_length():
    of = catalog.definition("rmsnorm").model_copy(
        update={"constraints": ("C % 64 == 0",), "test_axes": ({"N": 3, "C": 64}, {"N": 5, "C": 128})}
    )
    assert verification.draw_axes(of)["C"] % 64 == 0
    only = of.model_copy(update={"constraints": ("C * 1 == 128", "N * 1 == 5")})
    assert verification.draw_axes(only) == {"N": 5, "C": 128}


def test_numbers_that_an_op_is_given_are_others_in_the_secret_size():
    of = catalog.definition("muon_polynomial")
    drawn = [verification.secret_size(of)[0].inputs for _ in range(2)]
    for name in "abc":
        given, (one, other) = of.inputs[name].value, (inputs[name].value for inputs in drawn)
        assert len({given, one, other}) == 3
        assert all(0.7 < value / given < 1.3 for value in (one, other))


@pytest.mark.parametrize(("op", "second"), [("rmsnorm", "a forward"), ("launch_fusion", "nothing")])
def test_another_call_comes_between_forward_and_backward_but_where_recipes_make_none(op, second, tmp_path):
    path = tmp_path / "kernel.py"
    path.write_text(catalog.load_source(op, "torch_reference.py"))
    assert verification.between_of(subject_from(path, op), again=True) == second
