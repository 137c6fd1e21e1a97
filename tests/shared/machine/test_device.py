"""Names of devices, read once."""

import pytest

from shared.machine.device import Device, DeviceKind, Precision


@pytest.mark.parametrize("name", ["cpu", "mps", "metal", "cuda:0", "cuda:13"])
def test_a_name_is_read_and_written_the_same(name):
    assert str(Device.parse(name)) == name


def test_what_is_asked_of_a_device_follows_from_its_kind():
    assert Device.parse("cuda:3") == Device(DeviceKind.CUDA, 3)
    assert Device.parse("cuda:3").is_cuda
    assert Device.parse("mps").is_apple
    assert Device.parse("metal").is_apple
    assert Device.parse("cpu").is_cpu
    assert not Device.parse("metal").is_cpu
    assert not Device.parse("cpu").is_cuda
    assert not Device.parse("cpu").is_apple


def test_a_precision_is_called_what_records_and_both_frameworks_call_it():
    assert [precision.long_name for precision in Precision] == ["bfloat16", "float32"]


@pytest.mark.parametrize("name", ["", "cuda", "cuda:", "cuda:-1", "cuda:x", "gpu", "CPU", "cpu ", "cuda:0,1"])
def test_no_other_name_is_one(name):
    with pytest.raises(ValueError, match="choose cpu, cuda:0, metal or mps"):
        Device.parse(name)
