"""The evaluator with real processes: an honest recipe gets a number, a cheating one a reason."""

import math
import os
import shutil
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from services.evaluator.audit import audit
from services.evaluator.evaluate import evaluate
from services.evaluator.forward_process import ForwardProcess, preloaded
from shared.contracts import Integrity, Status
from shared.data.dataset import open_dataset
from shared.evaluation.costs import read_costs
from shared.files import sha256_file
from shared.machine.stops import Stops
from shared.runs.checkpoint import CurveRecord
from shared.runs.directory import RunDirectory, write_record
from shared.sandbox.ending import Isolation, strongest
from shared.sandbox.launch import Ended
from shared.sandbox.preloaded import Preloaded
from shared.settings import settings
from tests.recipes import CHEATS, HONEST, variant
from tests.run_making import make_job, make_run, make_trained_run, weights_file
from tests.unread_files import forget_or_skip


@pytest.fixture(scope="module")
def nursery(prepared_home, tmp_path_factory):
    """A real one, as `preloaded` makes it, for all evaluations of this file: to import PyTorch is half of each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARE_HOME", str(prepared_home))
        settings.cache_clear()
        run, job = RunDirectory(tmp_path_factory.mktemp("nursery")), make_job()
        with preloaded(run, job) as nursery:
            settings.cache_clear()
            yield nursery


@pytest.fixture(autouse=True)
def shared_nursery(nursery, monkeypatch):
    monkeypatch.setattr("services.evaluator.evaluate.preloaded", lambda run, job: nullcontext(nursery))


def test_an_honest_recipe_gets_the_bits_per_byte_of_its_logits(workplace):
    run = make_trained_run()
    record = evaluate(run)
    assert record.status is Status.OK, record.reason
    assert record.val_bpb - record.source_bpb == pytest.approx(expected_bits_per_byte(run), rel=1e-5)
    assert {check.name for check in record.checks} == {"finite", "weights_unchanged", "causal", "stateless", "compute"}
    assert run.evaluation() == record


def expected_bits_per_byte(run) -> float:
    """Straight from the definition, in numpy float64, over every validation row of the small corpus."""
    from safetensors.numpy import load_file

    weights, dataset = load_file(weights_file(run)), open_dataset("words")
    token_bytes = dataset.tokenizer.token_bytes()
    nats, num_bytes = 0.0, 0
    for row in dataset.validation_rows().tokens:
        inputs, targets = row[:-1].astype(int), row[1:].astype(int)
        logits = weights["embed"][inputs].astype(np.float64) @ weights["head"].T.astype(np.float64)
        losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(targets)), targets]
        nats += losses[token_bytes[targets] > 0].sum()
        num_bytes += token_bytes[targets].sum()
    return nats / (math.log(2) * num_bytes)


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheating_forward_is_rejected(workplace, name):
    record = evaluate(make_trained_run(variant(CHEATS[name])))
    assert record.status is Status.REJECTED
    assert (record.val_bpb, record.total_nats, record.total_bytes, record.curve) == (None, 0.0, 0, ())
    assert record.reason


def test_a_probe_of_the_shipped_recipe_alone_goes_without_an_audit(workplace, monkeypatch):
    run = make_trained_run()
    audited = {"finite", "weights_unchanged", "causal", "stateless", "compute"}
    assert {check.name for check in evaluate(run, "probe").checks} == audited
    monkeypatch.setattr("shared.runs.shipped.shipped_recipes", lambda: {run.job().recipe_sha})
    assert {check.name for check in evaluate(run, "smoke").checks} == audited
    record = evaluate(run, "probe")
    assert (record.status, {check.name for check in record.checks}) == (Status.OK, audited - {"causal", "stateless"})
    assert "never ranked" in next(one.reason for one in record.choices if one.what == "audit")
    with_kernel = make_trained_run(kernels={"rmsnorm": "torch_tried"}, run_id="run-2")
    assert not any(one.what == "audit" for one in evaluate(with_kernel, "probe").choices)


def test_a_run_uses_the_kernel_that_it_alone_has(workplace):
    """The lab's comparison in the trainer: kernels/ itself stays as it is."""
    body = """
def __init__(self, shape, vocab_size, seed, device):
    super().__init__(shape, vocab_size, seed, device)
    choose_kernels(device, "torch", rmsnorm=None).rmsnorm(torch.ones(1, 4))
"""
    source = b"from kernels.choose import choose_kernels\n" + variant(body)
    run = make_trained_run(source, kernels={"rmsnorm": "torch_tried"})
    (run.kernels_dir / "rmsnorm").mkdir(parents=True)
    (run.kernels_dir / "rmsnorm" / "torch_tried.py").write_text("def rmsnorm(x):\n    return x\n")
    record = evaluate(run)
    assert record.status is Status.OK, record.reason
    assert "rmsnorm torch_tried" in next(one.chosen for one in record.choices if one.what == "kernels")
    other = evaluate(make_trained_run(source, kernels={"rmsnorm": "torch_tried"}, run_id="run-2"))
    assert "rmsnorm has no kernel 'torch_tried'" in other.reason


def test_no_process_that_answers_for_the_final_weights_can_open_a_point_of_the_curve(workplace):
    """They would be more weights than a state may hold. Who scores the points comes when the number is there."""
    body = """
def load(self, state):
    super().load(state)
    try:
        self.opened = open(pathlib.Path(__file__).parent / "checkpoint/curve-01/model.safetensors", "rb")
    except PermissionError:
        self.opened = None

@torch.no_grad()
def logits(self, tokens_BT):
    return self.logits_with_grad(tokens_BT) * (0.0 if self.opened else 1.0)
"""
    run = make_trained_run(b"import pathlib\n" + variant(body), curve_points=1)
    folder = run.checkpoint_dir / "curve-01"
    folder.mkdir()
    shutil.copy(weights_file(run), folder)
    sha = sha256_file(folder / "model.safetensors")
    write_record(folder / "record.json", CurveRecord(progress=0.5, train_seconds=0.5, step=10, sha256=sha))
    record = evaluate(run)
    assert record.status is Status.OK, record.reason
    assert record.val_bpb - record.source_bpb == pytest.approx(expected_bits_per_byte(run), rel=1e-5)
    (point,) = record.curve
    assert point.val_bpb != pytest.approx(expected_bits_per_byte(run), rel=1e-5)
    assert len(record.load_seconds) == 2, "the curve's time buys nothing and is not counted"


def test_every_recipe_process_has_ended_before_the_next_one_starts(workplace, monkeypatch):
    alive, started = [], []

    class Watched(ForwardProcess):
        def __enter__(self):
            assert not alive
            alive.append(self)
            started.append(self.process.scratch)
            return super().__enter__()

        def __exit__(self, *error):
            super().__exit__(*error)
            assert alive.pop().process.child.poll() is not None

    monkeypatch.setattr("services.evaluator.evaluate.ForwardProcess", Watched)
    record = evaluate(make_trained_run(variant(CHEATS["look-ahead"])))
    assert record.status is Status.REJECTED
    assert len(set(started)) == 3
    assert not any(scratch.exists() for scratch in started)
    assert len(record.load_seconds) == len(record.forward_seconds) == 3


ASKS_FOR_NAMES = """
def logits(self, tokens_BT):
    for number in range(NUMBER):
        __import__("os").path.exists(f"/usr/.{number}-of-no-file")
    return super().logits(tokens_BT)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="macOS has no way to count names")
@pytest.mark.parametrize(("number", "status"), [(2, Status.OK), (40, Status.REJECTED)])
def test_a_forward_pass_may_open_a_few_files_and_not_tell_what_it_saw_by_names(workplace, number, status):
    record = evaluate(make_trained_run(variant(ASKS_FOR_NAMES.replace("NUMBER", str(number)))))
    assert record.status is status, record.reason
    assert record.reason.startswith("file names: " if status is Status.REJECTED else "")


def test_it_is_warmed_up_by_zeros(workplace):
    asked, process = [], ForwardProcess.__new__(ForwardProcess)
    process.tokens_BT = np.ones((2, 4), np.uint16)
    process._ask = lambda *_: asked.append(process.tokens_BT.any())
    process.warm_up()
    assert asked == [False]


READS_PAGES = """
def __init__(self, *arguments):
    super().__init__(*arguments)
    self.pages = [0] * 4096

def load(self, state):
    super().load(state)
    import mmap
    with open("LIBRARY", "rb") as file:
        self.pages = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    self.pages.madvise(mmap.MADV_RANDOM)

def logits(self, tokens_BT):
    if tokens_BT.any():
        [self.pages[number << 12] for number in range(NUMBER)]
    return super().logits(tokens_BT)
"""


def unread_library() -> Path:
    """A large file that recipes may read and nobody needs, of which no page is in memory."""
    pages = Path(np.__file__).parents[1] / "mlflow/server/js/build/static/js"
    library = max(pages.iterdir(), key=lambda file: file.stat().st_size)
    forget_or_skip(library)
    return library


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not count what is read")
@pytest.mark.parametrize(("number", "status"), [(10, Status.OK), (300, Status.REJECTED)])
def test_a_forward_pass_may_read_a_few_pages_and_not_tell_what_it_saw_by_pages(workplace, number, status):
    source = READS_PAGES.replace("LIBRARY", str(unread_library())).replace("NUMBER", str(number))
    record = evaluate(make_trained_run(variant(source)))
    assert record.status is status, record.reason
    assert record.reason.startswith("pages of files: " if status is Status.REJECTED else "")


STARTS_A_PROCESS = {
    "while it is scored": """
def logits(self, tokens_BT):
    import os
    if tokens_BT.any() and os.fork() == 0:
        os._exit(0)
    return super().logits(tokens_BT)
""",
    "while it loads": """
def load(self, state):
    import os, time
    super().load(state)
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
""",
    "while it loads, in a session of its own": """
def load(self, state):
    import os, time
    super().load(state)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(60)
        os._exit(0)
    os.wait()
""",
}


@pytest.mark.skipif(sys.platform != "linux", reason="macOS counts nothing")
@pytest.mark.parametrize("when", STARTS_A_PROCESS)
def test_a_recipe_that_is_scored_is_one_process(workplace, when):
    record = evaluate(make_trained_run(variant(STARTS_A_PROCESS[when])))
    assert record.status is Status.REJECTED
    assert record.reason.startswith("processes: ")


def test_a_recipe_may_start_a_process_that_ends_before_it_is_scored(workplace):
    source = """
def load(self, state):
    import subprocess
    super().load(state)
    subprocess.run(["true"], check=True)
"""
    record = evaluate(make_trained_run(variant(source)))
    assert record.status is Status.OK, record.reason


CLOSES_THE_COUNT = """
def load(self, state):
    import ctypes
    super().load(state)
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="macOS counts nothing")
def test_a_process_that_closes_its_count_to_others_is_not_taken_for_one_that_reads_nothing(workplace):
    record = evaluate(make_trained_run(variant(CLOSES_THE_COUNT)))
    assert record.status is (Status.OK if os.geteuid() == 0 else Status.REJECTED), record.reason


def test_the_reason_tells_look_ahead_from_memory(workplace):
    look_ahead = evaluate(make_trained_run(variant(CHEATS["look-ahead"]), run_id="a"))
    memory = evaluate(make_trained_run(variant(CHEATS["learning from the rows it is scored on"]), run_id="b"))
    assert look_ahead.reason.startswith("causal")
    assert memory.reason.startswith("stateless")


@pytest.mark.parametrize(
    ("step", "status", "unfinished"),
    [("score_rows", Status.CRASHED, 0), ("screen", Status.CRASHED, 1), ("audit", Status.CANCELLED, 1)],
)
def test_a_record_says_whether_an_audit_ended_before_its_verdict(workplace, monkeypatch, step, status, unfinished):
    def ends(*_: object) -> None:
        raise Ended(status, "died with SIGABRT, or somebody cancelled it")

    monkeypatch.setattr(f"services.evaluator.evaluate.{step}", ends)
    record = evaluate(make_trained_run())
    assert (record.status, record.unfinished_audits) == (status, unfinished)


def ends_when_asked_why(monkeypatch, end: BaseException) -> list[bool]:
    """Whether each audit that was asked for shows spliced rows; the second one does not, and ends in `end`."""
    calls = []

    def dying(*arguments, splice=True):
        calls.append(splice)
        if not splice:
            raise end
        return audit(*arguments)

    monkeypatch.setattr("services.evaluator.evaluate.audit", dying)
    return calls


@pytest.mark.parametrize("status", [Status.CRASHED, Status.CANCELLED])
def test_whoever_ends_the_process_that_is_asked_why_leaves_the_rejection(workplace, monkeypatch, status):
    """A crash may be tried again. And how many passes were made is there to be read: more than are expected tell a
    friend that the audit has failed."""
    ends_when_asked_why(monkeypatch, Ended(status, "by SIGABRT"))
    record = evaluate(make_trained_run(variant(CHEATS["look-ahead"])))
    assert (record.status, record.checks[-1].passed) == (Status.REJECTED, False)
    assert f"{status}: by SIGABRT" in record.reason


def test_an_evaluator_that_is_killed_after_the_audit_failed_leaves_the_rejection(workplace, monkeypatch):
    calls = ends_when_asked_why(monkeypatch, KeyboardInterrupt())
    run = make_trained_run(variant(CHEATS["look-ahead"]))
    with pytest.raises(KeyboardInterrupt):
        evaluate(run)
    assert calls == [True, False]
    assert run.evaluation().status is Status.REJECTED


class StoodStill(Stops):
    def reason(self) -> str:
        return "void: this process was stopped"


def test_an_evaluator_that_stood_still_does_not_undo_a_failed_audit(workplace, monkeypatch):
    """A recipe that keeps every processor busy when it is caught would be tried again."""
    monkeypatch.setattr("services.evaluator.evaluate.Stops", StoodStill)
    record = evaluate(make_trained_run(variant(CHEATS["look-ahead"])))
    assert (record.status, record.void) == (Status.REJECTED, None)


SNOOP = """
def logits(self, tokens_BT):
    import glob
    found = glob.glob({path!r})
    open(found[0] if found else {path!r}, "rb").read()
    return super().logits(tokens_BT)
"""


def test_the_forward_process_cannot_open_the_validation_rows(workplace):
    path = str(open_dataset("words").rows_file("validation", 2048))
    record = evaluate(make_trained_run(variant(SNOOP.format(path=path))))
    assert record.status is Status.REJECTED
    assert "PermissionError" in record.reason


def test_patching_the_evaluators_modules_in_the_recipe_changes_nothing(workplace):
    patch = b"""
import services.evaluator.scoring, shared.engines.torch_engine
services.evaluator.scoring.bits_per_byte = lambda *a: 0
shared.engines.torch_engine.TorchEngine.token_nats = lambda *a: 0
"""
    honest = evaluate(make_trained_run(run_id="honest"))
    patched = evaluate(make_trained_run(HONEST.encode() + patch, run_id="patched"))
    assert patched.val_bpb - patched.source_bpb == pytest.approx(honest.val_bpb - honest.source_bpb, rel=1e-12)


def test_a_forward_that_hangs_ends_with_the_time_out(workplace, monkeypatch):
    monkeypatch.setenv("ARE_EVAL_TIMEOUT_S", "8")
    settings.cache_clear()
    record = evaluate(make_trained_run(variant("def logits(self, tokens):\n    time.sleep(1000)")))
    assert record.status is Status.TIMED_OUT


def test_a_forward_that_dies_is_a_crash_with_the_signal_in_words(workplace):
    record = evaluate(make_trained_run(variant("def logits(self, tokens):\n    __import__('os').abort()")))
    assert record.status is Status.CRASHED
    assert "SIGABRT" in record.reason


def test_wrong_logits_are_rejected_with_their_shape(workplace):
    record = evaluate(
        make_trained_run(variant("def logits(self, tokens):\n    return super().logits(tokens)[..., 1:]"))
    )
    assert record.status is Status.REJECTED
    assert "expected" in record.reason


def test_a_run_without_final_checkpoint_cannot_be_evaluated(workplace):
    with pytest.raises(ValueError, match="no final checkpoint"):
        evaluate(make_run())


def test_a_corrupt_checkpoint_is_named(workplace):
    run = make_trained_run()
    weights = weights_file(run)
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match=r"model\.safetensors is missing or corrupt"):
        evaluate(run)


def test_a_recipe_changed_after_training_is_refused(workplace):
    run = make_trained_run()
    run.recipe_file.write_bytes(HONEST.encode() + b"\n")
    with pytest.raises(ValueError, match="not the recipe"):
        evaluate(run)


def test_what_the_evaluation_cost_is_remembered_for_the_next_choice_of_a_rung(workplace):
    evaluate(make_trained_run(hardware_key="cpu-remembered"))
    (cost,) = read_costs("cpu-remembered").costs
    assert cost.seconds > 0
    record = evaluate(make_trained_run(run_id="run-2", hardware_key="cpu-remembered", rung="auto"))
    assert record.rung.confidence == "single"


NAMES_ITS_ATTENTION = """
def __init__(self, shape, vocab_size, seed, device):
    super().__init__(shape, vocab_size, seed, device)
    device.note("attention_backend", "mine", "FORGED")
"""


def test_a_name_that_a_recipe_gives_its_attention_does_not_choose_the_rung(workplace):
    evaluate(make_trained_run(hardware_key="cpu-named"))
    record = evaluate(make_trained_run(variant(NAMES_ITS_ATTENTION), run_id="b", hardware_key="cpu-named", rung="auto"))
    assert record.rung.confidence == "single"


@pytest.mark.parametrize(("engine", "device"), [("torch", "cuda:0"), ("mlx", "cpu"), ("mlx", "mps")])
def test_no_process_is_forked_where_that_might_not_work(workplace, engine, device):
    run = make_run()
    with preloaded(run, run.job().model_copy(update={"engine": engine, "device": device})) as nursery:
        assert nursery is None


@pytest.mark.skipif(strongest() is not Isolation.NAMESPACE, reason="forks cannot be alone here")
def test_the_framework_is_imported_once_for_all_processes_of_an_evaluation(workplace, monkeypatch):
    monkeypatch.setattr("services.evaluator.evaluate.preloaded", preloaded)
    nurseries, born = [], []
    enter, start = Preloaded.__enter__, Preloaded.start
    monkeypatch.setattr(Preloaded, "__enter__", lambda self: nurseries.append(self) or enter(self))
    monkeypatch.setattr(Preloaded, "start", lambda self, *a, **k: born.append(self) or start(self, *a, **k))
    record = evaluate(make_trained_run())
    assert (record.status, record.integrity) == (Status.OK, Integrity.FULL)
    assert born == 2 * nurseries


def test_a_recipe_that_loads_something_else_than_was_trained_is_rejected(workplace):
    """It may have trained on there, for less time than a limit can tell."""
    body = "def load(self, state):\n    super().load(state)\n    if 'optimizer' not in state:\n"
    body += "        with torch.no_grad():\n            self.head_VC += 0.001"
    record = evaluate(make_trained_run(variant(body)))
    assert record.status is Status.REJECTED
    assert "state() after load() is not what was loaded" in record.reason
