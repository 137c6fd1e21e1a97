"""integration-ab and -suite: who is blamed for a failed run. The trainer is played; test_whole_way.py runs it."""

from types import SimpleNamespace

import pytest

from kernels import catalog
from services.kernel_lab import integration, opening
from services.kernel_lab.comparison import SIGNIFICANT
from services.kernel_lab.desk import Desk
from services.kernel_lab.ledger import EventKind
from services.kernel_lab.states import State, state_of
from services.kernel_lab.subject import find, of_catalog
from services.kernel_lab.surroundings import Missing
from shared.contracts import Status
from shared.kernel_lab.job import Init, Integration, LabAnswer, LabStatus
from shared.stages.executors import NativeExecutor

OP, KERNEL = "cross_entropy_full", "torch_chunked"
VERIFIED = {"command": "verify", "status": LabStatus.OK, "headline": "right"}
TINY, SMALL = "m5-tiny", "m5-small"


class Trainer:
    """Every run ends at once. fails: of (preset, whether the kernel is in it) those that do."""

    def __init__(self):
        self.fails: set[tuple[str, bool]] = set()
        self.ran: list[tuple[str, bool]] = []
        self.tried: set[tuple] = set()
        self.harm = 0.0

    def run(self, order, desk, tried, choice, preset, number):
        with_kernel, preset = choice == tried.kernel, preset or TINY
        self.tried.add((tried.op, tried.kernel, *tried.files.items()))
        self.ran.append((preset, with_kernel))
        failed = (preset, with_kernel) in self.fails
        return SimpleNamespace(
            run_id=f"run-{len(self.ran)}",
            status=Status.CRASHED if failed else Status.OK,
            reason="no rows of 512" if failed else "",
            tok_per_sec=None if failed else 1000.0 + 100 * with_kernel + number,
            val_bpb=2.0 + self.harm * with_kernel,
            choices=[SimpleNamespace(what="kernels", chosen=f"{tried.op} {tried.kernel}")],
        )


@pytest.fixture
def trainer(monkeypatch):
    trainer = Trainer()
    monkeypatch.setattr(integration, "_run", trainer.run)
    monkeypatch.setattr(
        integration, "_build", lambda order, preset, seed: SimpleNamespace(preset=preset or TINY, device="cpu")
    )
    monkeypatch.setattr(integration, "_source", lambda order, preset: f"OPS = {{'{OP}': None}}".encode())
    return trainer


def test_an_op_that_no_recipe_names_is_said_before_a_comparison_begins(trainer, desk, monkeypatch):
    monkeypatch.setattr(integration, "_source", lambda order, preset: f"y = {OP}(x)".encode())
    with pytest.raises(Missing, match="no recipe of this engine takes a kernel"):
        suite(desk)
    assert trainer.ran == []
    assert all(event.kind is not EventKind.INTEGRATION_BEGUN for event in desk.ledger.read())


@pytest.fixture
def desk(home):
    desk = Desk("0" * 16, NativeExecutor())
    subject = of_catalog(OP, KERNEL)
    desk.note(EventKind.VERIFY, subject, desk.around("cpu").hardware_key, LabAnswer(**VERIFIED))
    return desk


def suite(desk, command="integration-suite", **choices):
    order = Integration(command=command, candidate=f"{OP}/{KERNEL}", device="cpu", **choices)
    return integration.answer(order, desk)


def state(desk):
    return state_of(desk.ledger.read(), of_catalog(OP, KERNEL), desk.around("cpu").hardware_key, promoted=False)


def test_a_suite_compares_in_two_presets_and_alternates(trainer, desk):
    answer = suite(desk)
    assert [one["preset"] for one in answer.data["comparisons"]] == [TINY, SMALL]
    one_preset = [True, False, False, True] * 2 + [True, False]
    assert [with_kernel for _, with_kernel in trainer.ran] == one_preset * 2


def test_a_faster_kernel_that_learns_as_well_is_validated_and_one_that_does_not_is_not(trainer, desk):
    suite(desk)
    assert state(desk) is State.VALIDATED
    trainer.harm = 0.33
    suite(desk)
    assert state(desk) is State.REGRESSED


def test_no_kernel_can_know_with_which_seeds_it_is_compared(trainer, desk):
    suite(desk), suite(desk)
    first, second = (e.details["seeds"] for e in desk.ledger.read() if e.kind is EventKind.INTEGRATION)
    assert len({*first, *second}) == 10, "drawn, each another one"


def test_a_comparison_is_in_the_ledger_before_its_first_run(trainer, desk, monkeypatch):
    def broken_off(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(integration, "_run", broken_off)
    with pytest.raises(KeyboardInterrupt):
        suite(desk)
    assert desk.ledger.read()[-1].kind is EventKind.INTEGRATION_BEGUN
    monkeypatch.setattr(integration, "_run", trainer.run)
    assert [one["significant"] for one in suite(desk).data["comparisons"]] == [SIGNIFICANT / 4] * 2


@pytest.mark.parametrize("choices", [{"preset": TINY}, {"dataset": "words"}, {"time_budget": 19.0}, {"repeats": 4}])
def test_a_comparison_somebody_chose_something_for_is_for_him_to_look_at(trainer, desk, choices):
    answer = suite(desk, "integration-ab", **choices)
    (option,) = choices
    assert f"counts for no promotion, because of --{option.replace('_', '-')}" in answer.lines[-1]
    assert state(desk) is State.VERIFIED_ONLY


def test_a_kernel_is_not_blamed_for_a_run_that_fails_without_it_too(trainer, desk):
    trainer.fails = {(TINY, True), (TINY, False)}
    with pytest.raises(ValueError, match=r"the trainer fails without the kernel too: .*no rows of 512"):
        suite(desk)
    assert state(desk) is State.VERIFIED_ONLY


def test_a_kernel_with_which_alone_the_trainer_fails_has_regressed(trainer, desk):
    trainer.fails = {(SMALL, True)}
    answer = suite(desk)
    assert answer.status is LabStatus.FAILED
    assert "no rows of 512" in answer.headline
    assert state(desk) is State.REGRESSED


def test_what_was_compared_is_kept_where_a_further_preset_cannot_be(trainer, desk):
    trainer.fails = {(SMALL, True), (SMALL, False)}
    answer = suite(desk)
    assert (answer.status, answer.data["verdict"]) == (LabStatus.FAILED, "mixed")
    assert [one["preset"] for one in answer.data["comparisons"]] == [TINY]
    assert "no rows of 512" in answer.lines[-1]
    assert state(desk) is State.MIXED


def test_a_workspaces_kernel_is_handed_to_the_runs_that_try_it_and_never_comes_into_kernels(trainer, desk, tmp_path):
    """Every recipe reads what is there, and a comparison may be killed before it could take its file out again."""
    folder = tmp_path / "mine"
    opening.answer(Init(op=OP, workspace=folder), desk)
    subject = find(str(folder), desk.ledger)
    desk.note(EventKind.VERIFY, subject, desk.around("cpu").hardware_key, LabAnswer(**VERIFIED))
    before = files_of_kernels()
    order = Integration(command="integration-ab", candidate=str(folder), device="cpu")
    integration.answer(order, desk)
    assert trainer.tried == {(OP, "torch_mine", (f"{OP}/torch_mine", (folder / "kernel.py").read_bytes()))}
    assert files_of_kernels() == before


def files_of_kernels() -> set:
    return {path for path in catalog.KERNELS.rglob("*.py")}


def test_a_run_that_tries_a_kernel_has_it_in_its_own_folder(workplace, monkeypatch):
    desk = Desk("0" * 16, NativeExecutor())
    monkeypatch.setattr("shared.experiment.run._work", lambda directory, executor, watch: directory)
    order = Integration(command="integration-ab", candidate="x", preset=TINY, device="cpu", repeats=2, dataset="words")
    tried = integration.Tried("rmsnorm", "torch_mine", {"rmsnorm/torch_mine": b"def rmsnorm(x): ..."}, seeds=(7,))
    for choice in ("torch_mine", integration.OWN):
        directory = integration._run(order, desk, tried, choice, TINY, 0)
        assert [file.read_bytes() for file in directory.own_kernels()] == [b"def rmsnorm(x): ..."]
        assert directory.job().kernels == {"rmsnorm": choice}
        assert directory.job().seed == 7
