"""Every Triton kernel in Triton's interpreter, on the CPU: one JSON line per case. Started by test_triton.py.

TRITON_INTERPRET=1 python -m tests.kernels.interpreted
"""

import json

import torch

from kernels import catalog
from kernels.records import Language
from kernels.triton_interpreter import mend
from services.trainer.recipes import gpt_torch
from shared.contracts import Shape
from shared.engines import open_engine
from tests.kernels.checking import check, of_language

SHAPE = Shape(seq_len=12, depth=3, d_model=32, heads=2, window_pattern="SL", device_batch_size=2, total_batch_size=24)
KERNELS = {
    "block_prelude": "triton_fused",
    "cross_entropy_full": "triton_rows",
    "fused_mlp": "triton_saved",
    "muon_symmetric_matmul": "triton_triangle",
    "residual_rmsnorm": "triton_fused",
    "rope_qk_fused": "triton_fused",
    "value_embed_gate": "triton_fused",
}
PRELUDE = {"attention_prelude": "triton_epilogue", "cross_entropy_full": "triton_recompute"}
RESIDUAL = {
    "blend_rmsnorm": "triton_fused",
    "muon_polynomial": "triton_triangle",
    "residual_linear": "triton_epilogue",
    "residual_mlp": "triton_saved",
}


def kernels() -> None:
    for op, kernel in of_language(Language.TRITON):
        for workload in catalog.workloads(catalog.definition(op), "test"):
            status, said = check(op, catalog.load(op, kernel), workload)
            print(json.dumps({"case": f"{op}/{kernel} {workload.uuid}", "status": status, "said": said}))


def recipe(asked: dict[str, str]) -> None:
    """A training pass of the recipe with these, in one unbroken graph, against one without any."""
    torch._dynamo.reset()  # it compiles one function for so many models only
    plain, fused = built({}), built(asked)
    rows = torch.randint(0, 61, (2, 13), generator=torch.Generator().manual_seed(0))
    torch.compile(plain.model.loss, backend="eager")(rows).backward()
    loss = torch.compile(fused.model.loss, backend="aot_eager", fullgraph=True)(rows)
    loss.backward()
    names = dict(plain.model.named_parameters())
    away = {name: float((p.grad - names[name].grad).abs().max()) for name, p in fused.model.named_parameters()}
    scale = {name: float(p.grad.abs().max()) for name, p in names.items()}
    print(json.dumps({"case": "gradients", "away": away, "scale": scale}))
    for each in (plain, fused):
        each._set_rates(0.5)
        each._update()
    named = dict(plain.model.named_parameters())
    matrices = fused.model.blocks.named_parameters("blocks")
    moved = {name: float((p - named[name]).detach().abs().max()) for name, p in matrices}
    print(json.dumps({"case": "step", "away": moved}))
    print(json.dumps({"case": "choices", "choices": [choice.chosen for choice in fused.choices]}))


def built(kernels: dict[str, str]):
    engine = open_engine("torch", "cpu", dtype="fp32", compile="off", kernels=kernels)
    recipe = gpt_torch.build(SHAPE, 61, 0, engine.handle)
    recipe.choices = engine.choices
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in recipe.model.parameters():  # zeros would hide what they multiply
            if not p.any():
                p.copy_(0.1 * torch.randn(p.shape, generator=generator))
    return recipe


if __name__ == "__main__":
    mend()
    kernels()
    recipe(KERNELS)
    recipe(KERNELS | PRELUDE)
    recipe(KERNELS | RESIDUAL)
    recipe({"residual_linear": "triton_epilogue"})
    recipe({"residual_mlp": "triton_saved"})
