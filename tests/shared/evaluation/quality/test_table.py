"""What the table says before and after rows: sane everywhere, and ruled by what was measured."""

import math

import numpy as np
import pytest

from shared.contracts import Shape
from shared.evaluation.quality import QualityRow, QualityTable, published_rows
from shared.experiment.presets import PRESETS

OURS = "e" * 64
TOKENS = [1, 10**5, 10**7, 10**9, 10**12]


def row(preset="m5-small", num_tokens=10**7, val_bpb=1.5, dataset=OURS, **more):
    source, shape = f"{preset} {num_tokens}", PRESETS[preset].shape
    return QualityRow(source=source, dataset=dataset, shape=shape, num_tokens=num_tokens, val_bpb=val_bpb, **more)


def table(*rows, **more):
    return QualityTable((*published_rows(), *rows), OURS, **more)


@pytest.mark.parametrize("rows", [(), published_rows()[:3], published_rows()], ids=["none", "three", "published"])
def test_any_table_answers_any_shape_with_numbers(rows):
    candidates = [(preset.shape, tokens) for preset in PRESETS.values() for tokens in TOKENS]
    found = QualityTable(rows, OURS).predict_many(candidates)
    assert np.isfinite(found.val_bpb).all()
    assert (found.val_bpb > 0).all()
    assert (found.spread > 0).all()


@pytest.mark.parametrize("preset", PRESETS)
def test_more_tokens_are_never_worse(preset):
    tokens = np.geomspace(1e5, 1e10, 60).astype(int)
    found = table().predict_many([(PRESETS[preset].shape, int(count)) for count in tokens])
    assert (np.diff(found.val_bpb) < 1e-4).all()
    assert (np.diff(found.val_bpb[found.val_bpb < 3]) < 0).all()


def test_one_and_many_agree():
    shape = PRESETS["m5-balanced"].shape
    one, many = table().predict(shape, 10**7), table().predict_many([(PRESETS["m5-tiny"].shape, 5), (shape, 10**7)])
    assert one.val_bpb == pytest.approx(many[1].val_bpb, abs=1e-9)
    assert one.spread == pytest.approx(many[1].spread, abs=1e-9)
    assert one.sources == many[1].sources


def test_an_unknown_dataset_is_less_sure_than_the_published_one():
    shape = PRESETS["m5-small"].shape
    known = QualityTable(published_rows(), "climbmix").predict(shape, 10**7)
    nearly = table(corpus="climbmix").predict(shape, 10**7)
    unknown = table().predict(shape, 10**7)
    assert known.spread < nearly.spread < unknown.spread


def test_what_all_candidates_share_tells_none_of_them_apart():
    small, large = (PRESETS["m5-small"].shape, 10**7), (PRESETS["m5-large"].shape, 10**7)
    _, spread = table().compare(small, large)
    assert spread < 0.5 * math.hypot(table().predict(*small).spread, table().predict(*large).spread)


def test_a_candidate_is_as_good_as_itself():
    candidate = (PRESETS["m5-small"].shape, 10**7)
    assert table().compare(candidate, candidate) == pytest.approx((0.0, 0.0), abs=1e-6)


def test_rows_of_a_dataset_pin_its_offset():
    scores = {"m5-tiny": 2.3, "m5-small": 2.0, "m5-balanced": 1.9}
    rows = [row(preset, 10**7, score) for preset, score in scores.items()]
    before, after = (table(*rows[:count]).predict(PRESETS["m5-small"].shape, 2 * 10**7) for count in (0, 3))
    assert after.val_bpb == pytest.approx(1.9, abs=0.1)
    assert after.spread < 0.4 * before.spread


def test_the_sources_are_the_nearest_rows():
    found = table(row("m5-small", 10**7, 2.0), row("m5-large", 10**7, 2.0)).predict(PRESETS["m5-small"].shape, 10**7)
    assert found.sources[0] == "m5-small 10000000"


def test_with_rows_leaves_the_old_table_as_it_was():
    old = table()
    before = old.predict(PRESETS["m5-small"].shape, 10**7)
    new = old.with_rows([row()])
    assert len(new.rows) == len(old.rows) + 1
    assert old.predict(PRESETS["m5-small"].shape, 10**7) == before


def test_duplicates_do_not_break_the_fit_and_make_it_surer():
    rows = [row()] * 20
    once, often = table(rows[0]).predict(rows[0].shape, 10**7), table(*rows).predict(rows[0].shape, 10**7)
    assert often.val_bpb == pytest.approx(1.5, abs=0.01)
    assert often.spread <= once.spread


def test_the_batch_of_one_pass_does_not_matter():
    shape = PRESETS["m5-small"].shape
    other = Shape(**shape.model_dump() | {"device_batch_size": 8})
    assert table().predict(shape, 10**7) == table().predict(other, 10**7)
