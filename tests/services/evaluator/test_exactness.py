"""Why the audit allows no difference on a CPU: the shipped recipes give a row the same numbers wherever it stands."""

import numpy as np
import pytest

from services.evaluator.audit import spliced
from services.evaluator.evaluate import _batch_size
from services.evaluator.evaluation import Evaluation
from shared.contracts import Shape
from shared.engines import open_engine
from shared.experiment.presets import find_preset
from shared.experiment.recipe import load_recipe
from shared.runs.directory import RunDirectory
from shared.runs.shipped import default_recipe
from tests.run_making import make_job

SHAPES = {
    "narrow": Shape(
        seq_len=64, depth=3, d_model=32, heads=2, device_batch_size=4, total_batch_size=512, window_pattern="SL"
    ),
    "m5-tiny": Shape(
        seq_len=256, depth=2, d_model=128, heads=1, device_batch_size=4, total_batch_size=1024, window_pattern="L"
    ),
}
VOCAB_SIZE, SEQ_LEN, BATCH = 777, 301, 5


@pytest.mark.parametrize(("shape", "dtype"), [("narrow", "fp32"), ("narrow", "bf16"), ("m5-tiny", "fp32")])
@pytest.mark.parametrize("name", ["torch", "mlx"])
def test_a_row_gives_the_same_numbers_at_every_place_of_a_batch_and_a_prefix_whatever_follows(name, shape, dtype):
    if name == "mlx":
        pytest.importorskip("mlx.core", reason="mlx is not installed: pip install -e '.[mlx]'")
    engine, random = open_engine(name, "cpu", dtype=dtype, compile="off"), np.random.default_rng(0)
    engine.seed(0)
    recipe = load_recipe(default_recipe(name)).build(SHAPES[shape], VOCAB_SIZE, 0, engine.handle)
    train(recipe, engine, SHAPES[shape], random)
    rows, others = random.integers(0, VOCAB_SIZE, (2, BATCH, SEQ_LEN + 1), dtype=np.uint16)
    order, cuts = random.permutation(BATCH), random.integers(0, SEQ_LEN, BATCH)
    said = nats(recipe, engine, rows, rows)
    assert said.std() > 0.01
    assert np.array_equal(nats(recipe, engine, rows[order], rows[order]), said[order])
    altered = nats(recipe, engine, spliced(rows, others, cuts)[order], rows[order])
    before = np.arange(SEQ_LEN)[None] <= cuts[order, None]
    assert np.array_equal(altered[before], said[order][before])


@pytest.mark.parametrize(
    ("engine", "device", "rows"), [("mlx", "cpu", 1), ("torch", "cpu", 2), ("torch", "cuda:0", 6), ("mlx", "metal", 6)]
)
def test_a_cpu_scores_few_rows_at_a_time(engine, device, rows, workplace):
    """MLX one, since the place of a row among others changes its last bits with OpenBLAS: 2e-6 nats, and the run was
    rejected. PyTorch two: the first pass of six, which takes the memory, was five times as long as the others."""
    shape = find_preset("m5-tiny").shape
    job = make_job(engine=engine, device=device, shape=shape, eval_batch_size=6)
    evaluation = Evaluation(RunDirectory(workplace / "run-1"), job)
    assert _batch_size(evaluation, vocab_size=8192) == rows == evaluation.eval_batch_size


def train(recipe, engine, shape: Shape, random: np.random.Generator) -> None:
    """Two steps: fresh weights give the same logits for everything."""
    for step in range(2):
        rows = random.integers(0, VOCAB_SIZE, (shape.rows_per_step, shape.seq_len + 1), dtype=np.uint16)
        recipe.step(engine.from_host(rows), step / 2)


def nats(recipe, engine, rows_nT1: np.ndarray, targets_nT1: np.ndarray) -> np.ndarray:
    return engine.token_nats(recipe.logits(engine.from_host(rows_nT1[:, :-1])), targets_nT1[:, 1:])[0]
