"""The presets are SPEC's table, row by row."""

import pytest

from shared.experiment.presets import DEFAULT_PRESET, PRESETS, find_preset

# preset | use | seq | depth/d_model/heads | device/total batch | window
TABLE = """
m5-tiny | fast iteration | 256 | 2/128/1 | 4/12288 | L
m5-small | default start | 512 | 4/256/2 | 4/12288 | L
m5-balanced | best validation target | 1024 | 6/384/3 | 4/12288 | SSSSL
m5-large | bridge to upstream's model | 512 | 8/512/4 | 4/16384 | SSSSL
m5-xlarge | largest practical on a laptop | 2048 | 8/512/4 | 4/16384 | L
upstream | reference only, opt-in | 2048 | 8/512/4 | 8/65536 | SSSL
"""
ROWS = [[cell.strip() for cell in line.split("|")] for line in TABLE.strip().splitlines()]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_preset_is_its_row_of_the_table(row):
    preset = find_preset(row[0])
    shape = preset.shape
    model = f"{shape.depth}/{shape.d_model}/{shape.heads}"
    batch = f"{shape.device_batch_size}/{shape.total_batch_size}"
    assert [preset.name, preset.use, str(shape.seq_len), model, batch, shape.window_pattern] == row


def test_there_are_no_others_and_the_order_is_the_tables():
    assert list(PRESETS) == [row[0] for row in ROWS]


def test_the_reference_is_never_the_default():
    assert DEFAULT_PRESET == "m5-small"


def test_an_unknown_preset_names_the_ones_there_are():
    with pytest.raises(ValueError, match="unknown preset 'm5-huge': choose one of m5-tiny, m5-small"):
        find_preset("m5-huge")
