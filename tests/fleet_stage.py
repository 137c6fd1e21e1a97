"""A stage that does nothing for as long as the budget says and leaves the records a real one would.

A recipe may say `QUALITY = 1.9`, its val_bpb but for a little noise that follows from the seed, `CRASH = 1`, or
`OUTSIDE = 9`, seconds that it computed beside its budget, with `ONCE = 1` only the first job of a run.
"""

import json
import os
import re
import signal
import sys
import time

stage, directory = sys.argv[1], sys.argv[2]
with open(f"{directory}/job.json") as file:
    job = json.load(file)
with open(f"{directory}/recipe.py") as file:
    said = dict(re.findall(r"^(QUALITY|CRASH|OUTSIDE|ONCE) = ([0-9.]+)$", file.read(), flags=re.MULTILINE))


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
    seconds = job["budget"]["seconds"] or 0.05 if job["rung"] != "smoke" else 0.05
    place = os.path.join(os.path.dirname(directory), "intervals")
    os.makedirs(place, exist_ok=True)
    name = f"{job['run_id']}@{os.environ['FAST_DEVICE']}@{os.getpid()}"
    until = time.monotonic() + seconds
    with open(f"{place}/{name}.txt", "a") as file:
        while time.monotonic() < until:
            file.write(f"{time.time():.4f}\n")
            file.flush()
            time.sleep(0.01)
    if "CRASH" in said:
        return write("training.json", {"status": "crashed", "reason": "NameError", "integrity": "full"})
    numbers = {"training_seconds": seconds, "num_steps": 10, "total_tokens": 5120, "peak_vram_mb": 100.0}
    write("training.json", {"status": "ok", "integrity": "full", **numbers})
    os.makedirs(f"{directory}/checkpoint", exist_ok=True)
    write("checkpoint/latest.json", {})


def evaluate():
    rung = {
        "rung": sys.argv[3] if len(sys.argv) > 3 else "cheap",
        "status": "requested",
        "confidence": "none",
        "freshness": "none",
        "reason": "test",
    }
    val_bpb = float(said.get("QUALITY", 2.0)) + job["seed"] % 1000 / 1e6
    numbers = {"val_bpb": val_bpb, "num_tokens": 100, "total_seconds": 0.1, "eval_signature": "fast"}
    is_spoilt = "ONCE" not in said or "-r1" not in job["run_id"]
    numbers["outside_seconds"] = float(said.get("OUTSIDE", 0.0)) if is_spoilt else 0.0
    write("evaluation.json", {"status": "ok", "rung": rung, "integrity": "full", **numbers})


signal.signal(signal.SIGTERM, cancel)
train() if stage == "trainer" else evaluate()
