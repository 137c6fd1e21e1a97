"""Small traces in the schema of Kineto, whose bottleneck is known because they are made to have it."""

import json

LAUNCH_US = 5.0


class Recording:
    """A device that starts what was launched when it is free, on the clock of a host that launches."""

    def __init__(self):
        self.events, self.host, self.device, self.number = [], 0.0, 0.0, 0

    def kernel(self, microseconds, name="void gemm_kernel", category="kernel", runtime="cudaLaunchKernel"):
        self.number += 1
        self._add("cuda_runtime", runtime, self.host, LAUNCH_US, correlation=self.number)
        start = max(self.host + LAUNCH_US, self.device)
        self._add(category, name, start, microseconds, correlation=self.number, stream=7)
        self.host, self.device = self.host + LAUNCH_US, start + microseconds
        return self

    def copy(self, microseconds):
        return self.kernel(microseconds, "Memcpy HtoD (Pinned -> Device)", "gpu_memcpy", "cudaMemcpyAsync")

    def think(self, microseconds):
        """The host is busy with something else."""
        self.host += microseconds
        return self

    def wait(self):
        """The host waits until the device has nothing left to do."""
        end = max(self.host, self.device) + 1
        self._add("cuda_runtime", "cudaStreamSynchronize", self.host, end - self.host)
        self.host = end
        return self

    def _add(self, category, name, start, duration, **arguments):
        event = {"ph": "X", "cat": category, "name": name, "pid": 0, "tid": 0, "ts": start, "dur": duration}
        self.events.append({**event, "args": arguments})

    def write(self, path):
        path.write_text(json.dumps({"schemaVersion": 1, "traceEvents": self.events}))
        return path


def launch_bound():
    recording = Recording()
    for _ in range(30):
        recording.kernel(10, "triton_poi_fused_mul_0").think(30)
    return recording


def sync_bound():
    recording = Recording()
    for _ in range(30):
        recording.kernel(40, "triton_red_fused_rsqrt_1").wait().think(40)
    return recording


def copy_bound():
    recording = Recording()
    for _ in range(15):
        recording.copy(60).kernel(40)
    return recording


def kernel_dominated():
    recording = Recording()
    for _ in range(30):
        recording.kernel(200).kernel(100, "triton_poi_fused_relu_pow_2")
    return recording


def mixed():
    recording = Recording()
    for _ in range(30):
        recording.kernel(40).wait().think(2)
    return recording
