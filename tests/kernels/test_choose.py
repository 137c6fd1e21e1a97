"""Which function computes an op, and what the result says of it."""

from dataclasses import dataclass, field

import pytest
from pydantic import TypeAdapter, ValidationError

from kernels import catalog
from kernels.choose import choose_kernels
from kernels.cross_entropy_full import torch_chunked, torch_reference
from kernels.promotion import PROMOTED_FILE, Promotion, find, read, remove, replace, write
from shared.contracts import Job
from shared.kernel_names import Kernels, KernelWord

KEY = "nvidia-blackwell-gb10-120gb"


@dataclass
class Handle:
    """What choose_kernels reads of an engine's handle."""

    arch: str = "cpu"
    hardware_key: str = KEY
    kernels: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)

    def note(self, *choice):
        self.notes.append(choice)


def promotion(op="cross_entropy_full", kernel="torch_chunked", **changes) -> Promotion:
    values = {"op": op, "kernel": kernel, "hardware_key": KEY, "evidence": "ab-7", "signature": "0" * 64}
    if "signature" not in changes:
        values["signature"] = catalog.signature(op, kernel)
    return Promotion(**values | changes)


def chosen(handle, *promotions, framework="torch"):
    own = torch_reference.cross_entropy_full
    function = choose_kernels(handle, framework, promotions, cross_entropy_full=own).cross_entropy_full
    ((what, used, reason),) = handle.notes
    assert what == "kernels"
    return function, used, reason


def test_nothing_is_promoted_in_the_checkout():
    assert read(PROMOTED_FILE) == ()


def test_without_a_promotion_a_recipe_keeps_its_own_functions_and_the_result_says_so():
    function, used, reason = chosen(Handle())
    assert function is torch_reference.cross_entropy_full
    assert (used, reason) == ("references", f"nothing is promoted on {KEY}")


def test_a_promoted_kernel_is_used_on_its_hardware_and_nowhere_else():
    function, used, reason = chosen(Handle(), promotion())
    assert function is torch_chunked.cross_entropy_full
    assert used == "cross_entropy_full torch_chunked"
    assert f"promoted on {KEY} by ab-7" in reason
    function, used, _ = chosen(Handle(hardware_key="nvidia-h100-80gb"), promotion())
    assert (function, used) == (torch_reference.cross_entropy_full, "references")


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"signature": "1" * 64}, "has changed since"),
        ({"kernel": "triton_rows"}, "is promoted and"),
        ({"kernel": "triton_gone", "signature": "1" * 64}, "is no kernel of this checkout"),
    ],
    ids=["another signature", "cannot run here", "no longer there"],
)
def test_a_promotion_that_no_longer_holds_leaves_the_reference_and_says_why(row, why):
    function, used, reason = chosen(Handle(), promotion(**row))
    assert (function, used) == (torch_reference.cross_entropy_full, "references")
    assert why in reason


def test_a_kernel_asked_for_comes_before_promotions():
    function, used, reason = chosen(Handle(kernels={"cross_entropy_full": "torch_chunked"}))
    assert (function, used) == (torch_chunked.cross_entropy_full, "cross_entropy_full torch_chunked")
    assert "asked for" in reason
    function, used, reason = chosen(Handle(kernels={"cross_entropy_full": "reference"}), promotion())
    assert (function, used) == (torch_reference.cross_entropy_full, "references")
    assert reason == "cross_entropy_full reference: asked for"


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ("triton_rows", "needs triton|does not run on cpu"),
        ("mlx_chunked", "engine cannot call"),
        ("torch_no", "choose"),
    ],
)
def test_a_kernel_asked_for_that_cannot_be_had_is_an_error(kernel, message, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(ValueError, match=message):
        chosen(Handle(kernels={"cross_entropy_full": kernel}))


def test_promotions_are_written_and_read_back(tmp_path):
    path = tmp_path / "promoted.toml"
    path.write_text(PROMOTED_FILE.read_text())
    rows = replace(read(path), promotion())
    rows = replace(rows, promotion(op="fused_mlp", kernel="triton_saved", evidence='say "so"\\'))
    write(rows, path)
    assert find("cross_entropy_full", KEY, read(path)) == promotion()
    assert find("fused_mlp", KEY, read(path)).evidence == "say 'so'/"
    assert path.read_text().startswith(PROMOTED_FILE.read_text().splitlines()[0])
    newer = replace(read(path), promotion(kernel="triton_rows"))
    assert [row.kernel for row in newer] == ["triton_rows", "triton_saved"]
    write(remove(newer, "fused_mlp", KEY), path)
    assert [row.op for row in read(path)] == ["cross_entropy_full"]


def test_a_file_that_is_no_list_of_promotions_is_named(tmp_path):
    (tmp_path / "promoted.toml").write_text('[[promoted]]\nop = "fused_mlp"\n')
    with pytest.raises(ValueError, match=r"promoted\.toml is no list of promotions"):
        read(tmp_path / "promoted.toml")


def test_a_job_takes_kernels_as_people_write_them():
    kernels = TypeAdapter(Kernels)
    assert Job.model_fields["kernels"].annotation == dict[KernelWord, KernelWord]
    found = kernels.validate_python("fused_mlp=triton_saved,rope_qk_fused=reference")
    assert found == {"fused_mlp": "triton_saved", "rope_qk_fused": "reference"}
    for wrong in ("fused_mlp", "fused_mlp=../triton_saved", {"fused_mlp": 3}):
        with pytest.raises(ValidationError):
            kernels.validate_python(wrong)


def test_a_kernel_asked_for_that_the_recipe_has_no_use_for_is_named():
    _, used, reason = chosen(Handle(kernels={"fused_mlp": "triton_saved"}))
    assert used == "references"
    assert "fused_mlp triton_saved: asked for, not used by this recipe" in reason
