"""Contracts: what they refuse, and that what crosses a process comes back equal."""

import math
import subprocess
import sys

import pytest
from pydantic import TypeAdapter, ValidationError

from kernels import catalog
from shared import contracts
from shared.contracts import (
    Budget,
    Check,
    CheckpointPolicy,
    Choice,
    Contract,
    EvaluationRecord,
    IdeaRef,
    Integrity,
    PrepareJob,
    RunResult,
    Shape,
    Status,
    StepRecord,
    TrainingRecord,
    Unranked,
    weaker,
)  # fmt: skip
from shared.kernel_names import Kernels
from tests.shared.tracking.finished_runs import make_evaluation, make_job, make_result, make_steps

SHAPE = {
    "seq_len": 512, "depth": 4, "d_model": 256, "heads": 2,
    "device_batch_size": 4, "total_batch_size": 12288, "window_pattern": "SSSL",
}  # fmt: skip
MODELS = [model for model in vars(contracts).values() if isinstance(model, type) and issubclass(model, Contract)]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_contract_is_frozen_and_refuses_what_it_does_not_know(model):
    assert model.model_config["frozen"]
    assert model.model_config["extra"] == "forbid"


@pytest.mark.parametrize("record", [make_job(), make_result(), make_evaluation(make_result()), make_steps(1)[0]])
def test_a_record_comes_back_equal_from_json(record):
    assert type(record).model_validate_json(record.model_dump_json()) == record


def test_a_record_cannot_be_changed():
    with pytest.raises(ValidationError):
        make_result().val_bpb = 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seq_len": 1}, "greater than 1"),
        ({"depth": 0}, "greater than 0"),
        ({"d_model": 255}, "d_model 255 must be a multiple of 2 x heads"),
        ({"total_batch_size": 12289}, "4 x 512 = 2048"),
        ({"window_pattern": "SXL"}, "pattern"),
        ({"window_pattern": ""}, "pattern"),
        ({"window_pattern": "S" * 101}, "pattern"),
        ({"depth": 10**100}, "less than 2147483648"),
        ({"width": 3}, "Extra inputs"),
    ],
)
def test_a_shape_that_does_not_fit_together_says_why(change, message):
    with pytest.raises(ValidationError, match=message):
        Shape(**SHAPE | change)


def test_a_step_is_so_many_rows_in_so_many_passes():
    shape = Shape(**SHAPE)
    assert (shape.rows_per_step, shape.accumulation_steps) == (24, 6)


def test_a_recipe_is_told_nothing_that_anybody_wrote():
    told = Choice(what="dataset", chosen="climbmix", reason="some text")
    job = make_job().model_copy(update={"idea": IdeaRef(id="i0123456789", diff="a text"), "choices": (told,)})
    assert "text" not in job.for_recipe.model_dump_json()
    assert job.for_recipe == job.model_copy(update={"idea": None, "choices": ()})


def test_all_kernels_there_are_can_be_named_and_no_text():
    named = {op: [one.name.split("/")[1] for one in catalog.solutions(op)] for op in catalog.ops()}
    longest = {op: max(kernels, key=len) for op, kernels in named.items() if kernels}
    assert TypeAdapter(Kernels).validate_python(longest) == longest
    with pytest.raises(ValidationError, match="850 are the most"):
        TypeAdapter(Kernels).validate_python({f"op_{number}": "s" * 50 for number in range(20)})


@pytest.mark.parametrize(
    "budget",
    [{}, {"seconds": 1, "tokens": 1}, {"seconds": 0}, {"tokens": -1}, {"seconds": math.inf}, {"seconds": math.nan}],
)
def test_a_budget_is_a_finite_number_of_either_seconds_or_tokens(budget):
    with pytest.raises(ValidationError):
        Budget(**budget)


def test_a_budget_reads_as_people_write_it():
    assert [str(Budget(seconds=300)), str(Budget(tokens=12288))] == ["300 s", "12,288 tokens"]


def test_checkpoints_are_a_finite_time_apart():
    with pytest.raises(ValidationError):
        CheckpointPolicy(every_s=math.inf)


@pytest.mark.parametrize("run_id", ["", "../up", "a/b", ".hidden", "a" * 81, "a b"])
def test_a_run_id_is_the_name_of_one_folder(run_id):
    with pytest.raises(ValidationError):
        make_job(run_id)


@pytest.mark.parametrize("corpus", ["", "wikipedia", "parquet:", "stdlib2"])
def test_a_corpus_is_one_of_three(corpus):
    with pytest.raises(ValidationError, match="choose climbmix, stdlib or parquet:DIR"):
        PrepareJob(corpus=corpus)


@pytest.mark.parametrize("status", Status)
def test_an_evaluation_has_a_number_exactly_when_it_is_ok(status):
    with pytest.raises(ValidationError, match="exactly when"):
        EvaluationRecord(status=status, val_bpb=None if status is Status.OK else 1.0)


def test_the_statuses_are_the_closed_list_of_the_architecture():
    expected = "ok, diverged, out_of_memory, timed_out, crashed, cancelled, rejected, invalid"
    assert ", ".join(Status) == expected


def test_a_loss_that_is_not_finite_survives_its_line_of_telemetry():
    step = make_steps(1)[0].model_copy(update={"loss": math.inf})
    assert StepRecord.model_validate_json(step.model_dump_json()).loss == math.inf


def test_a_training_that_ends_before_its_first_step_has_a_record():
    record = TrainingRecord(status=Status.CRASHED, reason="no room", last_loss=math.nan)
    assert TrainingRecord.model_validate_json(record.model_dump_json()).last_loss is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_steps", -1), ("num_steps", 10**12), ("total_tokens", 10**18), ("tok_per_sec", math.inf),
        ("peak_vram_mb", math.nan), ("num_params", 10**20), ("input_percent", 101.0), ("training_seconds", math.inf),
        ("choices", [Choice(what="a", chosen="b", reason="c")] * 3000),
    ],
)  # fmt: skip
def test_no_record_holds_a_number_that_no_honest_run_meets(field, value):
    with pytest.raises(ValidationError, match=field):
        TrainingRecord(status=Status.OK, **{field: value})


@pytest.mark.parametrize("claimed", [2e20, math.inf, math.nan, -1])
def test_a_share_of_the_peak_that_nobody_reaches_is_not_kept(claimed):
    assert TrainingRecord(status=Status.OK, mfu_percent=claimed).mfu_percent is None
    assert TrainingRecord(status=Status.OK, mfu_percent=43).mfu_percent == 43


def test_what_a_recipe_had_a_hand_in_is_one_short_printable_line():
    dirty = "\x1b[31mred\n\u202e" + "x" * 5000
    choice = Choice(what=dirty, chosen=dirty, reason=dirty)
    record = TrainingRecord(status=Status.OK, reason=dirty, attention_backend=dirty, choices=(choice,))
    detail = Check(name="causal", passed=True, detail=dirty).detail
    (said,) = record.choices
    for text in (record.reason, record.attention_backend, said.what, said.chosen, said.reason, detail):
        assert text.isprintable()
        assert len(text) <= 1000
    assert len(said.what) == len(record.attention_backend) == 100


def test_a_recipe_names_few_series_with_short_names():
    step = make_steps(1)[0].model_dump()
    (name,) = StepRecord.model_validate(step | {"recipe": {"a\n" * 500: 1.0}}).recipe
    assert (len(name), name.isprintable()) == (100, True)
    with pytest.raises(ValidationError, match="recipe"):
        StepRecord.model_validate(step | {"recipe": {str(i): 0.0 for i in range(65)}})


def test_a_result_is_ranked_exactly_when_nothing_speaks_against_it():
    result = make_result().model_dump()
    for changes in (
        {"ranked": False},
        {"unranked": ["demo_corpus"]},
        {"rung": "smoke"},
        {"rung": None},
        {"budget": {"tokens": 512}},
        {"ranked": False, "unranked": ["demo_corpus"], "budget": {"tokens": 512}},
        {"val_bpb": None},
    ):
        with pytest.raises(ValidationError):
            RunResult.model_validate(result | changes)
    unranked = RunResult.model_validate(result | {"ranked": False, "unranked": ["demo_corpus"]})
    assert unranked.unranked == (Unranked.DEMO_CORPUS,)


def test_unknown_integrity_is_the_weakest():
    full, partial, none = Integrity
    assert [weaker(full, partial), weaker(none, partial), weaker(full, full)] == [partial, none, full]
    assert weaker(full, None) is weaker(None, none) is None


@pytest.mark.parametrize("model", [TrainingRecord, RunResult])
def test_what_is_only_reported_is_named_on_the_record(model):
    assert set(model.REPORTED) < set(model.model_fields)


def test_the_result_holds_every_name_of_the_summary():
    names = (
        "val_bpb val_bpb_upstream training_seconds total_seconds peak_vram_mb mfu_percent total_tokens_M num_steps "
        "num_params_M depth tok_per_sec rung engine attention_backend hardware_key dataset recipe_sha seed status"
    )
    assert set(names.split()) <= set(RunResult.model_fields)


def test_importing_the_records_reads_no_source():
    """Every process of an experiment imports them. Descriptions of fields, taken from the source, took a tenth of a
    second in each."""
    modules = "shared.contracts, shared.settings, services.trainer.messages, services.evaluator.messages"
    code = f"import linecache, {modules}; print(sorted(linecache.cache))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"
