"""Does nothing in the call and a second of work when its result is fetched, by way of the harness in its process."""

import torch

caller, time = torch.sys.modules["services.kernel_lab.caller"], torch.sys.modules["time"]
real = caller.TorchCaller.check_and_write


def write_later(self, outcome, places, memory):
    time.sleep(1.0)
    return real(self, outcome, places, memory)


caller.TorchCaller.check_and_write = write_later


def rmsnorm(x):
    return torch.nn.functional.rms_norm(x, (x.shape[-1],))
