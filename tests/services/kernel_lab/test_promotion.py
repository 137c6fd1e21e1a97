"""Promotion rests on the ledger alone: the very bytes, the very hardware, every step of the way."""

import pytest

from kernels import catalog, promotion
from kernels.records import Correctness, Environment, Evaluation, Status, Trace
from services.kernel_lab import opening, orchestrate, promote, promotion_check
from services.kernel_lab.bench import is_chosen
from services.kernel_lab.comparison import SIGNIFICANT
from services.kernel_lab.desk import Desk
from services.kernel_lab.integration import significance
from services.kernel_lab.ledger import EventKind
from services.kernel_lab.promotions import to_try
from services.kernel_lab.subject import find, of_catalog
from shared.kernel_lab.job import Bench, Init, LabAnswer, LabStatus, Orchestrate, Promote, PromotionCheck
from shared.runs.shipped import other_kernels
from shared.stages.executors import NativeExecutor

OP = "rmsnorm"
KERNEL = "torch_promoted_by_a_test"
"""a file that only these tests have"""


@pytest.fixture
def desk(home, tmp_path, monkeypatch):
    """kernels/ with one kernel more and a list of promotions of its own."""
    own = tmp_path / "promoted.toml"
    own.write_text("# promotions\n")
    monkeypatch.setattr(promotion, "PROMOTED_FILE", own)
    copied = tmp_path / "kernels"
    for op in (OP, "layernorm"):
        (copied / op).mkdir(parents=True)
        for file in catalog.folder(op).glob("*.py"):
            (copied / op / file.name).write_bytes(file.read_bytes())
    (copied / OP / f"{KERNEL}.py").write_text("def rmsnorm(x):\n    return x\n")
    (copied / "layernorm" / "torch_again.py").write_text("def layernorm(x, weight, bias):\n    return x\n")
    monkeypatch.setattr(catalog, "folder", lambda op: copied / op)
    monkeypatch.setattr(catalog, "ops", lambda: [OP, "layernorm"])
    monkeypatch.setattr(catalog, "_source", lambda path: catalog.SourceFile(path=path.name, content=path.read_text()))
    monkeypatch.setattr(catalog, "KERNELS", copied)
    monkeypatch.setattr("services.kernel_lab.fixed.CHECKOUT", tmp_path)
    monkeypatch.setattr("services.kernel_lab.fixed.HARNESS", ())
    return Desk("0" * 16, NativeExecutor())


@pytest.fixture
def subject(desk):
    return of_catalog(OP, KERNEL)


def trace_of(subject, status=Status.PASSED):
    workload = catalog.workloads(subject.definition, "test")[0]
    good = Correctness(max_absolute_error=0, max_relative_error=0, allowed_error=1, worst="output y")
    evaluation = Evaluation(
        status=status, environment=Environment(hardware="cpu-x", libs={}), timestamp="2026-01-01T00:00:00Z",
        correctness=good,
    )  # fmt: skip
    return Trace(
        definition=subject.op, workload=workload, solution=subject.solution.name, evaluation=evaluation,
        solution_sha256=subject.solution.sha256,
    )  # fmt: skip


class Evidence:
    """Writes what each stage would have written."""

    def __init__(self, desk, subject):
        self.desk, self.subject, self.here = desk, subject, desk.around(None).hardware_key

    def verified(self, status=Status.PASSED, **details):
        said = LabStatus.OK if status is Status.PASSED else LabStatus.FAILED
        given = {"quick": False, "interpreted": False, **details}
        return self._note(EventKind.VERIFY, said, [trace_of(self.subject, status)], **given)

    def measured(self, verdict="faster", **details):
        return self._note(EventKind.BENCH, LabStatus.OK, [], bouts={"compiled": {"verdict": verdict}}, **details)

    def begun(self, **details):
        return self._note(EventKind.INTEGRATION_BEGUN, LabStatus.OK, [], **details)

    def integrated(self, verdict="validated"):
        said = LabStatus.OK if verdict == "validated" else LabStatus.FAILED
        return self._note(EventKind.INTEGRATION, said, [], verdict=verdict)

    def _note(self, kind, status, traces, **details):
        answer = LabAnswer(command=kind, status=status, headline=f"a {kind}")
        return self.desk.note(kind, self.subject, self.here, answer, traces=traces, **details)


@pytest.fixture
def evidence(desk, subject):
    return Evidence(desk, subject)


def check(desk, subject):
    return promotion_check.answer(PromotionCheck(candidate=subject.name), desk)


def test_the_way_of_a_kernel_from_nothing_to_its_promotion(desk, subject, evidence):
    states = [check(desk, subject).data["state"]]
    for step in (evidence.verified, evidence.measured, evidence.integrated):
        step()
        states.append(check(desk, subject).data["state"])
    assert states == ["no-evidence", "verified-only", "ready-for-integration-test", "integration-validated"]
    answer = promote.answer(Promote(candidate=subject.name), desk)
    assert answer.status is LabStatus.OK, answer.headline
    (line,) = promotion.read(promotion.PROMOTED_FILE)
    assert (line.op, line.kernel, line.hardware_key) == (OP, KERNEL, evidence.here)
    assert line.evidence == desk.ledger.read()[-2].id, "the comparison in the trainer decided"
    assert line.signature == catalog.signature(OP, KERNEL)
    assert check(desk, subject).data["state"] == "promoted"


def test_a_workspaces_kernel_comes_into_kernels_with_its_promotion_and_is_charged_until_it_is_listed(
    desk, tmp_path, monkeypatch
):
    monkeypatch.setattr("shared.runs.shipped.KERNELS", catalog.KERNELS)
    folder = tmp_path / "mine"
    opening.answer(Init(op=OP, workspace=folder), desk)
    (folder / "kernel.py").write_text((folder / "kernel.py").read_text() + "# faster\n")
    evidence = Evidence(desk, find(str(folder), desk.ledger))
    evidence.verified(), evidence.measured(), evidence.integrated()
    answer = promote.answer(Promote(candidate=str(folder)), desk)
    assert answer.status is LabStatus.OK, answer.headline
    file = catalog.folder(OP) / "torch_mine.py"
    assert file.read_bytes() == (folder / "kernel.py").read_bytes()
    assert file in other_kernels()
    assert "counts as a part of every recipe's source" in answer.lines[0]


def test_a_kernel_that_was_edited_after_it_was_looked_at_is_not_tried(desk, tmp_path):
    folder = tmp_path / "mine"
    opening.answer(Init(op=OP, workspace=folder), desk)
    subject = find(str(folder), desk.ledger)
    subject.path.write_text("NOTES = 'weights'\n")
    with pytest.raises(ValueError, match="was edited meanwhile"):
        to_try(subject)


@pytest.mark.parametrize("missing", ["verified", "measured", "integrated"])
def test_nothing_is_promoted_without_all_three(desk, subject, evidence, missing):
    for step in {"verified", "measured", "integrated"} - {missing}:
        getattr(evidence, step)()
    answer = promote.answer(Promote(candidate=subject.name), desk)
    assert answer.status is LabStatus.FAILED
    assert promotion.read(promotion.PROMOTED_FILE) == ()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda evidence: evidence.verified(Status.INCORRECT_NUMERICAL),
        lambda evidence: evidence.verified(quick=True),
        lambda evidence: evidence.verified(interpreted=True),
        lambda evidence: evidence.measured("no different"),
        lambda evidence: evidence.integrated("regressed"),
        lambda evidence: evidence.integrated("mixed"),
    ],
    ids=["wrong", "quick", "interpreted", "not faster", "regressed", "mixed"],
)
def test_the_latest_of_each_kind_counts(desk, subject, evidence, spoil):
    evidence.verified(), evidence.measured(), evidence.integrated()
    spoil(evidence)
    assert promote.answer(Promote(candidate=subject.name), desk).status is LabStatus.FAILED


def test_a_measurement_in_a_chosen_size_neither_promotes_nor_takes_back(desk, subject, evidence):
    """A kernel may be faster, or slower, there alone."""
    evidence.verified(), evidence.measured(chosen=True), evidence.integrated()
    assert promote.answer(Promote(candidate=subject.name), desk).status is LabStatus.FAILED
    evidence.measured(), evidence.measured("slower", chosen=True)
    assert promote.answer(Promote(candidate=subject.name), desk).status is LabStatus.OK


@pytest.mark.parametrize(
    ("order", "chosen"), [({}, False), ({"axes": {"N": 1, "C": 8}}, True), ({"against": "eager"}, True)]
)
def test_a_size_or_an_opponent_that_was_asked_for_is_chosen(order, chosen):
    assert is_chosen(Bench(candidate="rmsnorm/torch", **order)) == chosen


def test_each_further_comparison_for_an_op_on_a_machine_has_to_be_less_likely_by_chance(desk, subject, evidence):
    """Whether it came to an end or not, and whatever the kernel: one with another comment is another text."""
    begun = [evidence.begun(), evidence.begun()]
    evidence.integrated("mixed")
    subject.path.write_text(subject.path.read_text() + "# a comment\n")
    evidence.subject = of_catalog(OP, KERNEL)
    begun += [evidence.begun(chosen=True), evidence.begun()]
    events = desk.ledger.read()
    asked = [round(significance(events, one) / SIGNIFICANT, 3) for one in begun]
    assert asked == [1.0, 0.25, 0.111, 0.111], "a chosen one is no evidence, so it is not counted"


def test_comparisons_of_another_op_or_machine_are_not_counted(desk, evidence):
    evidence.here = "gpu-of-somebody-else"
    evidence.begun()
    evidence.here, evidence.subject = desk.around(None).hardware_key, of_catalog("layernorm", "torch_again")
    evidence.begun()
    evidence.subject = of_catalog(OP, KERNEL)
    begun = evidence.begun()
    assert significance(desk.ledger.read(), begun) == SIGNIFICANT


def test_who_breaks_a_comparison_off_loses_what_an_earlier_one_said(desk, subject, evidence):
    evidence.verified(), evidence.measured(), evidence.begun(), evidence.integrated(), evidence.begun()
    answer = promote.answer(Promote(candidate=subject.name), desk)
    assert answer.status is LabStatus.FAILED
    assert "begun and came to no end" in answer.headline
    assert check(desk, subject).data["state"] == "ready-for-integration-test"
    evidence.integrated()
    assert promote.answer(Promote(candidate=subject.name), desk).status is LabStatus.OK


def test_evidence_of_another_text_or_of_another_machine_is_none(desk, subject, evidence):
    evidence.here = "gpu-of-somebody-else"
    evidence.verified(), evidence.measured(), evidence.integrated()
    assert check(desk, subject).data["state"] == "no-evidence"
    evidence.here = desk.around(None).hardware_key
    evidence.verified(), evidence.measured(), evidence.integrated()
    subject.path.write_text("def rmsnorm(x):\n    return 2 * x\n")
    assert check(desk, of_catalog(OP, KERNEL)).data["state"] == "no-evidence"


def test_evidence_by_a_definition_that_was_edited_since_does_not_count(desk, subject, evidence):
    evidence.verified(), evidence.measured(), evidence.integrated()
    definition = subject.path.parent / "definition.py"
    definition.write_text(definition.read_text() + "\n# easier\n")
    now = check(desk, of_catalog(OP, KERNEL))
    assert (now.data["may_be_promoted"], now.data["state"]) == (False, "no-evidence")


def test_who_changes_after_the_promotion_is_demoted_and_the_ledger_says_why(desk, subject, evidence):
    evidence.verified(), evidence.measured(), evidence.integrated()
    promote.answer(Promote(candidate=subject.name), desk)
    unchanged = promotion_check.answer(PromotionCheck(), desk)
    assert (len(unchanged.data["promoted"]), unchanged.data["demoted"]) == (1, {})
    subject.path.write_text("def rmsnorm(x):\n    return 2 * x\n")
    changed = promotion_check.answer(PromotionCheck(), desk)
    assert (changed.data["promoted"], list(changed.data["demoted"])) == ([], [OP])
    assert promotion.read(promotion.PROMOTED_FILE) == ()
    assert desk.ledger.read()[-1].kind is EventKind.DEMOTE


def test_what_is_nearly_done_comes_first_and_what_costs_most_before_the_rest(desk, subject, evidence, tmp_path):
    profile = tmp_path / "profile.json"
    profile.write_text(
        '{"data": {"families": [{"family": "norm", "catalog_family": "norm", "share": 0.4},'
        ' {"family": "loss", "catalog_family": "loss_prelude", "share": 0.1}]}}'
    )
    steps = orchestrate.answer(Orchestrate(profile=profile), desk).data["steps"]
    assert {step["op"] for step in steps[:2]} == {OP, "layernorm"}
    evidence.verified(), evidence.measured(), evidence.integrated()
    first = orchestrate.answer(Orchestrate(profile=profile), desk).data["steps"][0]
    assert first["next"] == f"autoresearch lab promote {subject.name}"


def test_a_workspace_of_an_op_without_a_promotion_is_to_be_worked_on(desk, tmp_path):
    folder = tmp_path / "mine"
    opening.answer(Init(op=OP, workspace=folder), desk)
    steps = orchestrate.answer(Orchestrate(top_k=50), desk).data["steps"]
    (mine,) = [step for step in steps if step["candidate"] == str(folder)]
    assert (mine["state"], mine["next"]) == ("no-evidence", f"autoresearch lab verify {folder}")


def test_a_profile_that_is_none_is_one_line(desk, tmp_path):
    (tmp_path / "other.json").write_text('{"data": []}')
    with pytest.raises(ValueError, match="neither of"):
        orchestrate.answer(Orchestrate(profile=tmp_path / "other.json"), desk)
