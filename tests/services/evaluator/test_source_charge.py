"""What a source could know is charged, and nothing else is."""

import base64
import math
import random

import pytest

from services.evaluator.evaluate import evaluate
from services.evaluator.scoring import BitsPerByte
from services.evaluator.source_charge import FREE_BPB, FREE_BYTES, source_charge
from shared.contracts import Budget, Rung, Status, Unranked, evident_reasons
from shared.runs.shipped import default_recipe, shipped_sources
from tests.recipes import variant
from tests.run_making import make_trained_run

CHEAP = BitsPerByte(total_nats=1.4e6, total_bytes=1_100_000)
"""the cheap rung at 4.2 bytes a token"""


@pytest.mark.parametrize("source", shipped_sources())
def test_a_shipped_recipe_is_charged_nothing(source):
    charge = source_charge(source, CHEAP, Rung.CHEAP)
    assert (charge.num_bytes, charge.bpb) == (0, 0.0)


@pytest.mark.parametrize("engine", ["torch", "mlx"])
def test_an_edit_of_ten_lines_is_charged_nothing_on_the_cheap_rung(engine):
    lines = default_recipe(engine).read_text().splitlines()
    draw = random.Random(0)
    for place in sorted(draw.sample(range(len(lines)), 10)):
        lines[place] += f"  # was {draw.random():.3f}"
    charge = source_charge("\n".join(lines).encode(), CHEAP, Rung.CHEAP)
    assert 0 < charge.num_bytes < 400
    assert charge.bpb == 0


@pytest.mark.parametrize("num_bytes", [1000, 10_000])
@pytest.mark.parametrize("base", [b"", *shipped_sources()], ids=["alone", "in the mlx recipe", "in the torch recipe"])
def test_bytes_that_could_be_text_are_charged_whole_however_they_are_written(num_bytes, base):
    payload = random.Random(1).randbytes(num_bytes)
    for written in (base64.b85encode(payload), payload.hex().encode(), repr(payload).encode()):
        charge = source_charge(base + b"DATA = '" + written + b"'\n", CHEAP, Rung.CHEAP)
        assert charge.bpb >= 8 * (num_bytes - FREE_BYTES) / CHEAP.total_bytes


def test_what_is_removed_from_the_shipped_recipe_makes_no_room_for_data():
    shipped = default_recipe("torch").read_bytes()
    data = base64.b85encode(random.Random(2).randbytes(2000))
    assert source_charge(shipped[:6000] + data, CHEAP, Rung.CHEAP).num_bytes >= 2000


def test_the_same_bytes_weigh_less_where_more_text_is_scored():
    source = default_recipe("torch").read_bytes() + b"# " + random.Random(3).randbytes(2000).hex().encode()
    reference = BitsPerByte(CHEAP.total_nats * 6, CHEAP.total_bytes * 6)
    assert source_charge(source, CHEAP, Rung.CHEAP).bpb > 0
    assert source_charge(source, reference, Rung.REFERENCE).bpb == 0


@pytest.mark.parametrize("total_bytes", [20_000, 100_000, 630_000, CHEAP.total_bytes, 9_000_000])
def test_what_is_free_is_less_than_a_cheat_may_gain_however_little_text_is_scored(total_bytes):
    """A dataset may have few validation rows, or few bytes a token."""
    source = b"# " + random.Random(5).randbytes(400).hex().encode()
    charge = source_charge(source, BitsPerByte(1.0, total_bytes), Rung.CHEAP)
    assert FREE_BPB <= charge.free_bpb < 0.01
    assert charge.bpb == pytest.approx(max(0.0, charge.worth_bpb - charge.free_bpb))


def test_a_kernel_that_is_not_shipped_is_charged_as_if_the_recipe_held_it(tmp_path):
    data = base64.b85encode(random.Random(7).randbytes(10_000))
    (tmp_path / "torch_notes.py").write_bytes(b"NOTES = '" + data + b"'\n")
    shipped = default_recipe("torch").read_bytes()
    charge = source_charge(shipped, CHEAP, Rung.CHEAP, [tmp_path / "torch_notes.py"])
    assert charge.bpb >= 8 * (10_000 - FREE_BYTES) / CHEAP.total_bytes
    assert f"with kernels that are not shipped ({tmp_path.name}/torch_notes)" in charge.choice.reason


def test_the_record_of_many_kernels_names_some(tmp_path):
    files = [tmp_path / f"torch_{number}.py" for number in range(5)]
    for file in files:
        file.touch()
    assert "torch_2 and 2 more)" in source_charge(b"", CHEAP, Rung.CHEAP, files).choice.reason


@pytest.mark.parametrize("place", ["tried by the run", "left in the checkout"])
def test_a_run_is_charged_the_kernels_that_its_process_can_read(workplace, tmp_path, monkeypatch, place):
    run, folder = make_trained_run(), tmp_path / "rmsnorm"
    if place == "tried by the run":
        folder = run.kernels_dir / "rmsnorm"
    else:
        monkeypatch.setattr("services.evaluator.evaluate.other_kernels", lambda: [folder / "torch_notes.py"])
    folder.mkdir(parents=True)
    (folder / "torch_notes.py").write_text(f"DATA = '{random.Random(8).randbytes(20_000).hex()}'\n")
    record = evaluate(run)
    measured = record.total_nats / (math.log(2) * record.total_bytes)
    assert record.source_bpb > 8 * (20_000 - FREE_BYTES) / record.total_bytes
    assert record.val_bpb == pytest.approx(measured + record.source_bpb)
    assert "rmsnorm/torch_notes" in next(one.reason for one in record.choices if one.what == "recipe source")


def test_the_number_is_what_was_measured_and_the_charge_and_the_record_says_both(workplace):
    data = random.Random(4).randbytes(20_000).hex()
    record = evaluate(make_trained_run(variant(f"DATA = '{data}'")))
    measured = record.total_nats / (math.log(2) * record.total_bytes)
    assert record.source_bpb > 0
    assert record.val_bpb == pytest.approx(measured + record.source_bpb)
    choice = next(choice for choice in record.choices if choice.what == "recipe source")
    assert f"{record.source_bpb:.4f} were added" in choice.reason


def test_a_look_for_mistakes_has_the_models_number_however_little_text_it_scores(workplace):
    data = random.Random(4).randbytes(20_000).hex()
    record = evaluate(make_trained_run(variant(f"DATA = '{data}'")), "smoke")
    assert record.source_bpb == 0
    assert record.val_bpb == pytest.approx(record.total_nats / (math.log(2) * record.total_bytes))
    choice = next(choice for choice in record.choices if choice.what == "recipe source")
    assert "never ranked" in choice.reason


@pytest.mark.parametrize("rung", Rung)
def test_nothing_is_left_uncharged_where_a_result_could_be_ranked(rung):
    charge = source_charge(b"# " + random.Random(6).randbytes(20_000).hex().encode(), CHEAP, rung)
    reasons = evident_reasons(Status.OK, rung, Budget(seconds=300), 300.0)
    assert (charge.bpb == 0) == (Unranked.SMOKE_RUNG in reasons)
