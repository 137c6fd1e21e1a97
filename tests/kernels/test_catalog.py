"""The folders of kernels/: complete, and described without being run."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from kernels import catalog
from kernels.records import Definition, DType, Evaluation, Status, axes, tensor
from shared.settings import CHECKOUT

CATALOG = """
rmsnorm layernorm residual_blend residual_rmsnorm qk_rmsnorm rope_qk_fused rotary_embedding logits_softcap
activation_pointwise reduce softmax value_embed_gate ve_lookup_reshape attention_mask_local proj_head_reshape
loss_logits_cast_softcap cross_entropy_prelude cross_entropy_full attention_prelude block_prelude fused_mlp
muon_symmetric_matmul launch_fusion residual_linear residual_mlp blend_rmsnorm muon_polynomial
"""


def test_every_op_of_the_catalog_has_a_folder():
    assert set(catalog.ops()) == set(CATALOG.split())


@pytest.mark.parametrize("op", catalog.ops())
def test_a_folder_holds_what_its_definition_names(op):
    of = catalog.definition(op)
    assert of.name == op
    assert of.wrong, "nothing here would show that a wrong kernel is rejected"
    for entry in of.reference.values():
        assert (catalog.folder(op) / entry.split("::")[0]).is_file()
    assert {solution.name for solution, _ in catalog.wrong(op)} == {
        f"{op}/wrong/{path.stem}" for path in (catalog.folder(op) / "wrong").glob("*.py") if path.stem != "__init__"
    }
    for solution in [*catalog.solutions(op), *(solution for solution, _ in catalog.wrong(op))]:
        assert solution.description, f"{solution.name} does not say what it is"
        file, name = solution.spec.entry_point.split("::")
        assert f"def {name}(" in (catalog.folder(op) / file).read_text()


def test_the_catalog_is_read_without_a_framework():
    code = (
        "import sys\nfrom kernels import catalog\nfor op in catalog.ops(): catalog.solutions(op), catalog.wrong(op)\n"
    )
    code += "print(*{'torch', 'mlx', 'triton'} & set(sys.modules))"
    argv = [sys.executable, "-c", code]
    assert subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.strip() == ""


def test_a_solution_brings_the_files_it_imports():
    paths = [source.path for source in catalog.solution("fused_mlp", "triton_saved").sources]
    assert paths[:2] == ["kernels/fused_mlp/triton_saved.py", "kernels/fused_mlp/product.py"]


def test_a_signature_follows_the_sources(monkeypatch):
    before = catalog.signature("fused_mlp", "triton_saved")
    assert before == catalog.signature("fused_mlp", "triton_saved")
    assert before != catalog.signature("fused_mlp", "triton_recompute")
    monkeypatch.setattr(catalog, "_version", lambda name: "another")
    assert before != catalog.signature("fused_mlp", "triton_saved")


def test_a_signature_follows_what_a_reference_imports(monkeypatch):
    before, files = catalog.signature("residual_rmsnorm", "triton_fused"), catalog.reference_files("residual_rmsnorm")
    assert catalog.KERNELS / "rmsnorm" / "torch_reference.py" in files
    monkeypatch.setattr(catalog, "reference_files", lambda op: files[:-1])
    assert before != catalog.signature("residual_rmsnorm", "triton_fused")


def test_names_that_do_not_exist_are_answered_with_those_that_do():
    with pytest.raises(ValueError, match="choose one of activation_pointwise, "):
        catalog.definition("fused_mlb")
    with pytest.raises(ValueError, match="choose one of metal, triton_recompute, triton_saved"):
        catalog.solution("fused_mlp", "triton_save")
    with pytest.raises(ValueError, match="begins with none of"):
        catalog.language_of("cuda_mlp")


def test_a_workload_keeps_to_the_constraints():
    of = catalog.definition("rope_qk_fused")
    with pytest.raises(ValueError, match="rope_qk_fused needs D == 2"):
        catalog.workload(of, {"B": 1, "T": 1, "H": 1, "G": 1, "D": 6, "K": 2}, DType.FLOAT32)


def op_of(**changes) -> Definition:
    values = {
        "name": "double", "op_type": "elementwise", "description": "y = 2 x", "axes": axes(N="numbers"),
        "inputs": {"x": tensor("N")}, "outputs": {"y": tensor("N")},
        "reference": {"torch": "torch_reference.py::double"},
        "test_axes": ({"N": 3},), "bench_axes": ({"N": 3},),
    }  # fmt: skip
    return Definition(**values | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs": {"x": tensor("M")}},
        {"gradients": ("z",)},
        {"test_axes": ({"N": 3, "M": 2},)},
        {"constraints": ("N % 2 == 0",)},
        {"constraints": ("().__class__",)},
        {"reference": {"torch": "../elsewhere.py::double"}},
        {"tolerances": 3},
    ],
    ids=["unknown axis", "unknown gradient", "axis too many", "broken constraint", "code", "path outside", "typo"],
)
def test_a_definition_that_does_not_fit_together_is_refused(changes):
    assert op_of().name == "double"
    with pytest.raises(ValidationError):
        op_of(**changes)


def test_nothing_passes_without_a_comparison():
    environment = {"hardware": "cpu-test", "libs": {}}
    with pytest.raises(ValidationError, match="without a comparison"):
        Evaluation(status=Status.PASSED, environment=environment, timestamp="2026-01-01T00:00:00+00:00")
