"""The kernel lab through the queue: a kernel travels as text, its verdict is the outcome, the ledger has the rest."""

import pytest

from services.kernel_lab.ledger import EventKind, Ledger
from shared.contracts import Status

WRONG = "def rmsnorm(x):\n    return 1.0 * x\n"


def test_a_kernel_in_a_job_is_judged_in_the_sandbox_and_its_verdict_is_the_outcome(
    hub, start_worker, tmp_path, monkeypatch
):
    from shared.settings import settings

    monkeypatch.setenv("ARE_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    start_worker(real=True)
    outcome = hub.outcome(hub.enqueue("lab", command="verify", candidate="rmsnorm", source=WRONG, quick="true"), 90)
    assert outcome.status is Status.REJECTED, outcome.reason
    assert "INCORRECT_NUMERICAL on cpu-" in outcome.reason
    kinds = [event.kind for event in Ledger().read()]
    assert kinds == [EventKind.INIT, EventKind.VERIFY]


def test_what_is_missing_on_a_machine_is_the_outcome_too(hub, start_worker):
    start_worker(real=True)
    job = hub.enqueue("lab", command="integration-ab", candidate="rmsnorm/wrong/torch_mean_kept")
    outcome = hub.outcome(job, 60)
    assert outcome.status is Status.INVALID
    assert "was not verified here as it is now" in outcome.reason


@pytest.mark.parametrize(
    "asked",
    [
        {"command": "capture", "preset": "m5-tiny"},
        {"command": "deep-profile", "candidate": "cross_entropy_full/torch_chunked"},
    ],
)
def test_a_job_may_ask_for_nvidias_profilers_and_is_told_what_they_need(hub, start_worker, asked):
    start_worker(real=True)
    outcome = hub.outcome(hub.enqueue("lab", **asked), 60)
    assert outcome.status is Status.INVALID
    assert outcome.reason.startswith("capture-unavailable: "), outcome.reason
