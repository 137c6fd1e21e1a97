"""A stage that does nothing for as long as the budget says and leaves the records a real one would."""

import json
import os
import signal
import sys
import time

stage, directory = sys.argv[1], sys.argv[2]
with open(f"{directory}/job.json") as file:
    job = json.load(file)


def write(name, record):
    path = f"{directory}/{name}"
    with open(path + ".tmp", "w") as file:
        json.dump(record, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".tmp", path)


def cancel(number, frame):
    write("training.json", {"status": "cancelled", "reason": "cancelled by SIGTERM"})
    sys.exit(1)


def train():
    seconds = job["budget"]["seconds"] or 0.05
    place = os.path.join(os.path.dirname(directory), "intervals")
    os.makedirs(place, exist_ok=True)
    name = f"{job['run_id']}@{os.environ['FAST_DEVICE']}@{os.getpid()}"
    until = time.monotonic() + seconds
    with open(f"{place}/{name}.txt", "a") as file:
        while time.monotonic() < until:
            file.write(f"{time.time():.4f}\n")
            file.flush()
            time.sleep(0.01)
    write("training.json", {"status": "ok", "training_seconds": seconds, "num_steps": 10, "total_tokens": 5120})
    os.makedirs(f"{directory}/checkpoint", exist_ok=True)
    write("checkpoint/latest.json", {})


def evaluate():
    rung = {"rung": "cheap", "status": "requested", "confidence": "none", "freshness": "none", "reason": "test"}
    record = {"status": "ok", "val_bpb": 2.0 + job["seed"] / 1e6, "rung": rung, "num_tokens": 100, "total_seconds": 0.1}
    write("evaluation.json", record)


signal.signal(signal.SIGTERM, cancel)
train() if stage == "trainer" else evaluate()
