"""Ideas, results and books for tests: a baseline, ideas on it, and runs with the numbers that a test says."""

from shared.contracts import Budget, Integrity, Rung, RunResult, Shape, Status, Unranked
from shared.experiment.presets import find_preset
from shared.files import sha256_bytes
from shared.research.book import Proposal
from shared.research.comparable import Key
from shared.research.idea import Idea, propose
from shared.research.known import Known, read_known

SHAPE: Shape = find_preset("m5-tiny").shape
KEY = Key(
    hardware_key="cpu-test",
    engine="torch",
    dataset="d" * 64,
    budget_seconds=300,
    rung=Rung.REFERENCE,
    eval_signature="e",
)


def recipe(text: str = "pass") -> bytes:
    return f"def build(shape, vocab_size, seed, device):\n    {text}\n".encode()


START = propose(recipe(), note="baseline")


def idea(text: str = "x = 1", parent: Idea = START, **options) -> Idea:
    return propose(recipe(text), parent, recipe(), note=text, **options)


def result(of: Idea, index: int, val_bpb: float | None = 2.0, **changes) -> RunResult:
    """Run number `index`, complete and ranked unless the test says otherwise."""
    ok = val_bpb is not None
    values = dict(
        run_id=f"{of.id}-{index}", status=Status.OK if ok else Status.CRASHED, val_bpb=val_bpb,
        training_seconds=300.0, depth=SHAPE.depth,
        rung=Rung.REFERENCE if ok else None, unranked=() if ok else (Unranked.NOT_OK,),
        integrity=Integrity.FULL, engine="torch", target="cpu", hardware_key="cpu-test", dataset="d" * 64,
        recipe_sha=of.recipe_sha, seed=of.seed(index), budget=Budget(seconds=300), shape=SHAPE, idea=of.id,
        eval_signature="e" if ok else "",
    )  # fmt: skip
    values |= changes
    return RunResult(**values, ranked=not values["unranked"])


def results(of: Idea, *values: float | None) -> list[RunResult]:
    return [result(of, index, value) for index, value in enumerate(values)]


def known(*pairs: tuple[Idea, list[RunResult]], rulings=(), believe_missing: bool = False) -> Known:
    entries = [*(Proposal(idea=one) for one, _ in pairs), *rulings]
    return read_known(entries, {one.id: found for one, found in pairs}, believe_missing=believe_missing)


def sha(text: str) -> str:
    return sha256_bytes(text.encode())
