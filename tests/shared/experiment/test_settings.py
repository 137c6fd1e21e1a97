"""Settings that ask for the same run are one setting, however somebody writes them."""

import pytest

from shared.contracts import IdeaRef
from shared.experiment.identity import check_identity, idea_id
from shared.experiment.settings import may_differ, normal, resolved

TINY_SAID_FROM_SMALL = {"seq_len": "256", "depth": "2", "d_model": "128", "heads": "1"}


@pytest.mark.parametrize(
    "settings",
    [
        {"depth": "02"},
        {"heads": "+1"},
        {"depth": "2.0", "compile": "auto", "attention": "auto", "dtype": "auto"},
        {"kernels": ""},
        {"window_pattern": "LS"},  # the last layer is always L
        {"window_pattern": "LL"},
    ],
)
def test_what_the_preset_has_anyhow_asks_for_nothing(settings):
    assert normal("m5-tiny", settings) == ("m5-tiny", {})


@pytest.mark.parametrize(
    ("preset", "settings", "said"),
    [
        ("m5-tiny", {"depth": "04"}, {"depth": "4"}),
        ("m5-tiny", {"eval_batch_size": " 7"}, {"eval_batch_size": "7"}),
        ("m5-tiny", {"kernels": "b=c,a=d"}, {"kernels": "a=d,b=c"}),
        ("m5-tiny", {"depth": "2000000000"}, {"depth": "2000000000"}),
        ("m5-balanced", {"window_pattern": "SSSSSS"}, {"window_pattern": "S"}),
        (None, {"depth": "02", "compile": "auto"}, {"depth": "2", "compile": "auto"}),
    ],
)
def test_a_value_has_one_way_of_being_written(preset, settings, said):
    assert normal(preset, settings) == (preset, said)


@pytest.mark.parametrize("settings", [{"depth": "two"}, {"nothing": "1"}, {"heads": "3"}])
def test_what_no_run_can_be_set_stays_as_it_is(settings):
    assert normal("m5-tiny", settings) == ("m5-tiny", settings)


def test_a_shape_is_the_same_from_another_preset():
    assert resolved("m5-small", TINY_SAID_FROM_SMALL) == resolved("m5-tiny", {}) == ("m5-tiny", {})
    assert normal("m5-small", TINY_SAID_FROM_SMALL)[0] == "m5-small", "it is shown as somebody said it"


def test_an_idea_of_an_older_book_may_be_named_by_what_was_typed():
    for settings in ({"depth": "04"}, {"depth": "4"}):
        check_identity(IdeaRef(id=idea_id("a" * 64, "m5-tiny", settings)), "a" * 64, "m5-tiny", {"depth": "04"})
    with pytest.raises(ValueError, match="other settings"):
        check_identity(IdeaRef(id=idea_id("a" * 64, "m5-tiny", {"depth": "5"})), "a" * 64, "m5-tiny", {"depth": "4"})


def test_the_rows_of_a_pass_may_follow_a_step_or_a_row_length_and_nothing_else_may():
    assert may_differ(["total_batch_size"]) == {"total_batch_size", "device_batch_size"}
    assert may_differ(["seq_len", "depth"]) == {"seq_len", "depth", "device_batch_size"}
    assert may_differ(["depth"]) == {"depth"}
