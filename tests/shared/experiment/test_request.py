"""From a request to a job: defaults with their reasons, strings coerced, bad input in one line that says what to do."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from shared.contracts import Budget
from shared.data.dataset import open_dataset
from shared.experiment import request as request_module
from shared.experiment.platform_default import PlatformDefault, write_default
from shared.experiment.presets import find_preset
from shared.experiment.request import TrainRequest, build_job, has_own_terms, new_run_id, validated
from shared.machine.hardware import NvidiaProbe, apple_hardware, cpu_hardware, nvidia_hardware
from shared.runs.directory import RunDirectory
from shared.runs.recipe_file import InvalidRecipe
from shared.runs.shipped import default_recipe
from tests.platform_defaults import calibrated, unmeasured
from tests.recipes import HONEST
from tests.shared.tracking.finished_runs import RECIPE

GPU = NvidiaProbe("NVIDIA H100 80GB HBM3", (9, 0), 80 * 2**30, "GPU-1", "580.1")
MACHINES = {
    "m5": apple_hardware(("Apple M5", 32 * 2**30, '{"SPDisplaysDataType": [{"sppci_cores": "10"}]}', "26.2")),
    "h100": nvidia_hardware(GPU, "cuda:0", 2**40),
}
CPU = cpu_hardware("AMD EPYC", 2, 2**30)

pytestmark = pytest.mark.usefixtures("workplace")


def job_of(**request):
    return build_job(validated(TrainRequest, {"engine": "torch", "device": "cpu", **request}), HONEST.encode())[0]


def refusal(**request) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is what is tested
        job_of(**request)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    return str(caught.value)


def test_nothing_asked_for_is_the_default_start_with_a_reason_for_each_choice():
    job = job_of(engine=None, device=None)
    assert (job.preset, job.shape) == ("m5-tiny", find_preset("m5-tiny").shape)
    assert (job.budget.seconds, job.seed, job.rung, job.checkpoints.every_s) == (300.0, 42, "auto", None)
    assert job.dataset == open_dataset("words").ref
    assert {choice.what for choice in job.choices} == {"engine", "preset", "dataset"}
    assert all(choice.reason for choice in job.choices)


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        ({"total_batch_size": "2048"}, 2),  # the preset's 4 rows of 512 are 2048 tokens; here a row has 1024
        ({"total_batch_size": "6144"}, 2),
        ({"total_batch_size": "6144", "seq_len": "2048"}, 1),
        ({"total_batch_size": "24576", "device_batch_size": "8"}, 8),
    ],
)
def test_rows_of_a_pass_fit_another_step_where_nobody_asked_for_their_number(asked, rows):
    job = job_of(preset="m5-small", set={"seq_len": "1024", **asked})
    assert job.shape.device_batch_size == rows
    said = [choice for choice in job.choices if choice.what == "device_batch_size"]
    assert [choice.chosen for choice in said] == ([] if "device_batch_size" in asked else [str(rows)])


@pytest.mark.parametrize(
    ("found", "asked", "engine", "device"),
    [
        ("m5", {"engine": "torch"}, "torch", "mps"),
        ("m5", {"engine": "torch", "device": "metal"}, "torch", "mps"),
        ("m5", {"engine": "mlx"}, "mlx", "metal"),
        ("m5", {"engine": "mlx", "device": "mps"}, "mlx", "metal"),
        ("m5", {"device": "mps"}, "mlx", "metal"),
        ("h100", {"engine": "torch"}, "torch", "cuda:0"),
        ("h100", {"engine": "mlx"}, "mlx", "cpu"),
    ],
)
def test_a_device_is_called_what_the_engine_calls_it(monkeypatch, found, asked, engine, device):
    monkeypatch.setattr(request_module, "detect", lambda device=None: CPU if device == "cpu" else MACHINES[found])
    monkeypatch.setattr(request_module, "default_engine", lambda machine: ("mlx", "metal", "Apple chip"))
    job = job_of(**({"engine": None, "device": None} | asked))
    assert (job.engine, job.device) == (engine, device)
    assert job.target == ("cpu" if device == "cpu" else {"m5": "mac", "h100": "h100"}[found])


def test_mlx_on_an_nvidia_device_is_refused(monkeypatch):
    monkeypatch.setattr(request_module, "detect", lambda device=None: MACHINES["h100"])
    assert "the mlx engine runs on metal or cpu; --engine torch" in refusal(engine="mlx", device="cuda:0")


def test_without_a_recipe_it_is_the_engines_own():
    _, source = build_job(TrainRequest(engine="torch", device="cpu"))
    assert source == default_recipe("torch").read_bytes()


def test_a_command_line_or_a_queue_may_send_strings():
    job = job_of(
        preset="m5-tiny", seed="7", time_budget="12.5", checkpoint_every="3", curve_points="2",
        set={"device_batch_size": "8", "total_batch_size": "12288", "eval_batch_size": "2", "dtype": "fp32"},
    )  # fmt: skip
    assert (job.seed, job.budget.seconds, job.checkpoints.every_s, job.curve_points) == (7, 12.5, 3.0, 2)
    assert (job.shape.device_batch_size, job.eval_batch_size, job.dtype) == (8, 2, "fp32")


@pytest.mark.parametrize(
    ("asked", "own"),
    [
        ({}, False),
        ({"time_budget": 3600}, False),
        ({"time_budget": 3600, "checkpoint_every": 300}, False),
        ({"checkpoint_every": 0.05}, True),
        ({"time_budget": 3600, "checkpoint_every": 3599}, True),
        ({"checkpoint_mode": "async"}, True),
        ({"curve_points": 1}, True),
    ],
)
def test_a_job_that_keeps_weights_otherwise_than_its_budget_does_unasked_has_terms_of_its_own(asked, own):
    assert has_own_terms(job_of(**asked)) is own


def test_a_changed_shape_is_no_preset_and_its_old_value_is():
    assert job_of(preset="m5-tiny", set={"depth": "3"}).preset is None
    assert job_of(preset="m5-tiny", set={"depth": "2"}).preset == "m5-tiny"


def test_a_smoke_run_is_tiny_short_and_marked():
    job = job_of(smoke=True)
    assert (job.preset, job.rung, job.budget.seconds) == ("m5-tiny", "smoke", 5.0)
    assert job_of(smoke=True, time_budget=2).budget.seconds == 2.0


@pytest.mark.parametrize(
    ("asked", "seconds"), [(300.0004, 300), (0.05000001, 0.05), (301, 301), (1234.5, 1230), (86400, 86400)]
)
def test_a_time_budget_has_three_digits(asked, seconds):
    """Budgets that differ by less than a run may overrun them would be others in name alone."""
    assert job_of(time_budget=asked).budget.seconds == seconds
    assert str(Budget(seconds=300.0004)) == "300.0004 s", "an older record says which it was"


@pytest.mark.parametrize(
    ("request_", "every_s"), [({"time_budget": 301}, 300.0), ({"tokens": 10**6}, 300.0), ({}, None)]
)
def test_checkpoints_are_periodic_only_where_more_than_a_default_budget_could_be_lost(request_, every_s):
    assert job_of(**request_).checkpoints.every_s == every_s


BAD = {
    "preset": ({"preset": "m5-huge"}, "unknown preset 'm5-huge': choose one of m5-tiny"),
    "target": ({"target": "h300"}, "h300"),
    "another machine's target": ({"target": "h100"}, "this machine is cpu"),
    "total batch": ({"set": {"total_batch_size": "12289"}}, "must be a multiple of device_batch_size x seq_len"),
    "heads": ({"set": {"heads": "3"}}, "multiple of 2 x heads"),
    "unknown key": ({"set": {"widht": "3"}}, "unknown key 'widht': --set takes attention, compile, d_model"),
    "no number": ({"set": {"depth": "four"}}, "depth: Input should be a valid integer"),
    "attention": ({"set": {"attention": "fa3"}}, "attention 'fa3': choose auto, fa4, fa2, flex, sdpa"),
    "precision": ({"set": {"dtype": "fp8"}}, "'auto', 'bf16' or 'fp32'"),
    "evaluation batch": ({"set": {"eval_batch_size": "0"}}, "eval_batch_size: Input should be greater than 0"),
    "both budgets": ({"time_budget": 3, "tokens": 3}, "either --time-budget or --tokens"),
    "no time": ({"time_budget": 0}, "time_budget: Input should be greater than 0"),
    "endless time": ({"time_budget": "inf"}, "finite"),
    "not a time": ({"time_budget": "nan"}, "finite"),
    "no tokens": ({"tokens": -5}, "tokens: Input should be greater than 0"),
    "endless checkpoints": ({"checkpoint_every": "inf"}, "finite"),
    "seed": ({"seed": -1}, "seed"),
    "large seed": ({"seed": 2**32}, "seed"),
    "rung": ({"rung": "smoke"}, "'auto', 'cheap', 'reference' or 'full'"),
    "mode": ({"checkpoint_mode": "later"}, "'sync' or 'async'"),
    "dataset": ({"dataset": "nothing"}, "no prepared dataset 'nothing' .* run `autoresearch prepare"),
    "dataset elsewhere": ({"dataset": "../home"}, "no prepared dataset"),
    "engine": ({"engine": "jax"}, "'torch' or 'mlx'"),
    "device": ({"device": "gpu"}, "unknown device 'gpu': choose cpu"),
    "device that is not here": ({"device": "cuda:99"}, "cuda:99' is not here"),
    "engine without that device": ({"engine": "mlx", "device": "cuda:0"}, "cuda:0"),
    "field": ({"budget": 3}, "budget: Extra inputs"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(name, workplace):
    request, message = BAD[name]
    assert re.search(message, refusal(**request))
    assert not list(workplace.iterdir())


def test_an_empty_home_says_how_to_prepare(tmp_path, monkeypatch):
    from shared.settings import settings

    monkeypatch.setenv("ARE_HOME", str(tmp_path / "nothing"))
    settings.cache_clear()
    assert "run `autoresearch prepare --corpus stdlib`" in refusal()


@pytest.mark.parametrize("source", [b"", b"def build(:", b"\xff\xfe"])
def test_a_recipe_that_cannot_be_one_is_refused_before_anything_starts(source):
    with pytest.raises(InvalidRecipe):
        build_job(TrainRequest(engine="torch", device="cpu"), source)


def test_a_job_names_the_recipe_it_comes_with(workplace):
    job, source = build_job(TrainRequest(engine="torch", device="cpu"), RECIPE)
    directory = RunDirectory.of(job.run_id)
    directory.create(job, source)
    assert directory.verified_recipe().parent.parent == workplace


def test_run_ids_differ_and_tell_what_ran():
    ids = {new_run_id("m5-tiny", 7) for _ in range(50)}
    assert len(ids) > 45
    assert all("-m5-tiny-s7-" in run_id for run_id in ids)


@pytest.fixture
def kept():
    """write_default, undone afterwards: the home belongs to all tests."""
    written = []

    def keep(default: PlatformDefault):
        written.append(write_default(default))
        return written[-1]

    yield keep
    for path in written:
        path.unlink(missing_ok=True)


def test_a_calibrated_machine_starts_from_its_platform_default_and_says_so(kept):
    kept(calibrated())
    job = job_of()
    assert (job.preset, job.shape, job.compile, job.eval_batch_size) == (None, calibrated().shape, "off", 4)
    (choice,) = [choice for choice in job.choices if choice.what == "shape"]
    assert choice.chosen == "m5-tiny, calibrated"
    assert "valid: calibrated today; expects val_bpb 1.750 after 300 s" in choice.reason


def test_a_calibrated_evaluation_batch_is_used_and_said(kept):
    kept(calibrated())
    (choice,) = [choice for choice in job_of().choices if choice.what == "eval_batch_size"]
    assert choice.chosen == "4 rows"
    own = job_of(set={"eval_batch_size": "2"})
    assert own.eval_batch_size == 2
    assert "eval_batch_size" not in {choice.what for choice in own.choices}
    kept(calibrated(eval_batch_size=None))
    assert "eval_batch_size" not in {choice.what for choice in job_of().choices}


def test_a_preset_that_is_named_is_not_what_was_calibrated(kept):
    kept(calibrated())
    assert job_of(preset="m5-small").shape == find_preset("m5-small").shape


def test_a_smoke_run_tests_what_the_run_that_follows_will_be(kept):
    """A batch that fits in a smaller shape says nothing of the one that is trained afterwards."""
    kept(calibrated())
    smoke, run = job_of(smoke=True), job_of()
    same = ("shape", "compile", "attention", "dtype", "eval_batch_size", "preset")
    assert {name: getattr(smoke, name) for name in same} == {name: getattr(run, name) for name in same}
    assert (smoke.rung, smoke.budget.seconds) == ("smoke", 5.0)


def test_single_values_are_changed_from_the_platform_default(kept):
    kept(calibrated())
    assert job_of(set={"depth": "4", "compile": "on"}).shape == calibrated().shape.model_copy(update={"depth": 4})
    assert job_of(set={"compile": "on"}).compile == "on"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"made_at": datetime.now(UTC) - timedelta(days=40)}, "aging: calibrated 40 days ago"),
        ({"made_at": datetime.now(UTC) - timedelta(days=100)}, "stale: calibrated 100 days ago"),
        ({"recipe_sha": "0" * 64}, "stale: changed since it was calibrated: the shipped recipe"),
        ({"driver_version": "Linux 1.0"}, "stale: changed since it was calibrated: the driver"),
        ({"eval_signature": "other"}, "stale: changed since it was calibrated: the evaluation"),
    ],
)
def test_an_old_default_is_used_and_its_age_is_said(changes, said, kept):
    kept(calibrated(**changes))
    (choice,) = [choice for choice in job_of().choices if choice.what == "shape"]
    assert said in choice.reason


def test_a_default_of_which_nothing_was_measured_is_used_and_expects_nothing(kept):
    kept(unmeasured())
    job = job_of()
    (choice,) = [choice for choice in job.choices if choice.what == "shape"]
    assert (job.shape, choice.chosen) == (unmeasured().shape, "m5-tiny, not measured")
    assert choice.reason == (
        "the platform default, unmeasured: no probe came to a number when it was calibrated today; autoresearch "
        "calibrate measures again"
    )


@pytest.mark.parametrize("changes", [{"confidence": "none"}, {"val_bpb": None}, {"tok_per_sec": None}])
def test_a_default_has_its_numbers_exactly_where_something_was_measured(changes):
    with pytest.raises(ValueError, match="are there unless the confidence is none"):
        calibrated(**changes)


def test_a_damaged_default_is_one_line_that_says_what_to_do(kept):
    path = kept(calibrated())
    path.write_text(path.read_text()[:40])
    assert "is damaged" in refusal()
    assert "autoresearch calibrate" in refusal()
