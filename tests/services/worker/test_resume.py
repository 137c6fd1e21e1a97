"""A new attempt goes on where a dead one of the same job stopped, when that is fair."""

from shared.contracts import Status
from shared.runs.directory import RunDirectory
from tests.fleet import horse_of, wait_for
from tests.recipes import HONEST, light

STEP = """
def step(self, rows, progress):
    time.sleep(0.02)
    return super().step(rows, progress)
"""
JOB = {
    "recipe": light(STEP).decode(),
    "engine": "mlx",
    "dataset": "words",
    "preset": "m5-tiny",
    "checkpoint_every": 0.3,
}
SHAPE = {"seq_len": 64, "device_batch_size": 4, "total_batch_size": 512, "eval_batch_size": 4}


def test_training_goes_on_from_the_checkpoint_of_the_dead_attempt(hub, start_worker):
    worker = start_worker(real=True)
    job = hub.enqueue(job_id="long", rung="cheap", **JOB, set=SHAPE, tokens=150 * 512)
    first = RunDirectory.of("long-a1")
    wait_for(lambda: (first.checkpoint_dir / "latest.json").exists(), 60)
    horse_of(worker).kill()
    outcome = hub.outcome(job, 90)

    assert (outcome.status, outcome.attempt) == (Status.OK, 2), outcome.reason
    second = RunDirectory.of("long-a2")
    assert second.training().resumed_from_step > 0
    assert outcome.result.num_steps == 150
    assert first.result() is None


def test_a_damaged_checkpoint_is_not_gone_on_from(workplace):
    from services.worker.experiments import _can_go_on
    from tests.run_making import make_trained_run

    run = make_trained_run(HONEST.encode())
    assert _can_go_on(run)
    (run.checkpoint_dir / "step-00000020" / "model.safetensors").write_bytes(b"damaged")
    assert not _can_go_on(run)
