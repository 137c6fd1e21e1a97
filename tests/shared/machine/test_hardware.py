"""Machines we do not have, from what their operating systems print."""

import json

import pytest

from shared.machine import hardware
from shared.machine.hardware import NvidiaProbe, apple_hardware, cpu_hardware, cpuinfo_name, detect, nvidia_hardware

GIB, MIB = 2**30, 2**20
DISPLAYS_M5 = json.dumps(
    {
        "SPDisplaysDataType": [
            {
                "_name": "Apple M5",
                "spdisplays_mtlgpufamilysupport": "spdisplays_metal4",
                "spdisplays_vendor": "sppci_vendor_Apple",
                "sppci_bus": "spdisplays_builtin",
                "sppci_cores": "10",
                "sppci_device_type": "spdisplays_gpu",
                "sppci_model": "Apple M5",
            }
        ]
    }
)
CPUINFO_EPYC = "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel\t\t: 17\nmodel name\t: AMD EPYC\nstepping\t: 1\n"
CPUINFO_ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nCPU implementer\t: 0x41\nCPU part\t: 0xd4f\n"


def gpu(name: str, capability: tuple[int, int], mebibytes: int | None, uuid: str = "GPU-1") -> NvidiaProbe:
    return NvidiaProbe(name, capability, mebibytes and mebibytes * MIB, uuid, "580.95.05")


@pytest.mark.parametrize(
    ("probe", "key", "architecture", "target"),
    [
        (gpu("NVIDIA GB10", (12, 1), None), "nvidia-blackwell-gb10-120gb", "sm_121", "gb10"),
        (gpu("NVIDIA H100 80GB HBM3", (9, 0), 81559), "nvidia-hopper-h100-hbm3-80gb", "sm_90", "h100"),
        (gpu("NVIDIA H100 PCIe", (9, 0), 81559), "nvidia-hopper-h100-pcie-80gb", "sm_90", "h100"),
        (gpu("NVIDIA H200", (9, 0), 143771), "nvidia-hopper-h200-140gb", "sm_90", "h200"),
        (gpu("NVIDIA A100-SXM4-40GB", (8, 0), 40960), "nvidia-ampere-a100-sxm4-40gb", "sm_80", "a100"),
        (gpu("NVIDIA A100 80GB PCIe", (8, 0), 81920), "nvidia-ampere-a100-pcie-80gb", "sm_80", "a100"),
        (gpu("NVIDIA B200", (10, 0), 183359), "nvidia-blackwell-b200-179gb", "sm_100", "b200"),
        (gpu("NVIDIA GeForce RTX 5090", (12, 0), 32607), "nvidia-blackwell-rtx-5090-32gb", "sm_120", "rtx50"),
        (gpu("NVIDIA GeForce RTX 4090", (8, 9), 24564), "nvidia-ada-rtx-4090-24gb", "sm_89", "rtx40"),
        (gpu("NVIDIA L40S", (8, 9), 46068), "nvidia-ada-l40s-45gb", "sm_89", "l40s"),
        (gpu("NVIDIA GeForce RTX 3090", (8, 6), 24576), "nvidia-ampere-rtx-3090-24gb", "sm_86", "a100"),
        (gpu("NVIDIA B300 SXM6 AC", (10, 3), 275040), "nvidia-blackwell-b300-sxm6-ac-269gb", "sm_103", "b200"),
    ],
)
def test_an_nvidia_gpu_has_a_key_and_a_target(probe, key, architecture, target):
    found = nvidia_hardware(probe, "cuda:0", system_memory_bytes=128_524_738_560)
    assert (found.hardware_key, found.architecture, found.target) == (key, architecture, target)


def test_a_gpu_without_own_memory_has_the_machines():
    assert nvidia_hardware(gpu("NVIDIA GB10", (12, 1), None), "cuda:0", 120 * GIB).memory_bytes == 120 * GIB


def test_a_gpu_no_image_supports_says_what_to_do():
    with pytest.raises(ValueError, match=r"no target for nvidia-turing-tesla-t4-15gb.*--device cpu"):
        nvidia_hardware(gpu("Tesla T4", (7, 5), 15360), "cuda:0", GIB)


def test_an_apple_chip_has_a_key_with_its_gpu_cores():
    found = apple_hardware(("Apple M5", 32 * GIB, DISPLAYS_M5, "26.2"))
    assert found.hardware_key == "apple-m5-32gb-10gpu"
    assert (found.target, found.device, found.cores) == ("mac", "metal", 10)


@pytest.mark.parametrize(
    ("name", "cores", "gibibytes", "key"),
    [
        ("AMD EPYC", 2, 23.5, "cpu-amd-epyc-2core-24gb"),
        ("AMD EPYC 9654 96-Core Processor", 192, 755.4, "cpu-amd-epyc-9654-192core-755gb"),
        ("Intel(R) Xeon(R) CPU @ 2.50GHz", 2, 24, "cpu-intel-xeon-2core-24gb"),
        ("Intel(R) Core(TM) i7-1260P", 16, 15.4, "cpu-intel-core-i7-1260p-16core-15gb"),
        ("aarch64", 20, 119.7, "cpu-aarch64-20core-120gb"),
    ],
)
def test_a_cpu_has_a_key_without_marketing(name, cores, gibibytes, key):
    assert cpu_hardware(name, cores, int(gibibytes * GIB)).hardware_key == key


def test_the_processor_name_is_read_where_linux_prints_one():
    assert cpuinfo_name(CPUINFO_EPYC) == "AMD EPYC"
    assert cpuinfo_name(CPUINFO_ARM) == ""


@pytest.mark.parametrize(
    ("selection", "seen"),
    [(None, "ab"), ("1", "b"), ("1,0", "ba"), ("GPU-b", "b"), ("", ""), ("0,9,1", "a"), ("-1", "")],
)
def test_gpus_are_numbered_as_cuda_does(selection, seen):
    gpus = tuple(gpu("NVIDIA H200", (9, 0), 143771, f"GPU-{name}") for name in "ab")
    assert [found.uuid[-1] for found in hardware._visible(gpus, selection)] == list(seen)


@pytest.fixture
def two_h200(monkeypatch):
    gpus = [gpu("NVIDIA H200", (9, 0), 143771, f"GPU-{name}") for name in "ab"]
    monkeypatch.setattr(hardware, "visible_gpus", lambda: gpus)
    monkeypatch.setattr(hardware, "is_apple_silicon", lambda: False)


@pytest.mark.usefixtures("two_h200")
def test_the_named_device_is_found_and_the_first_is_the_default():
    assert detect().device_id == "GPU-a"
    assert detect("cuda:1").device_id == "GPU-b"
    assert detect("cpu").target == "cpu"


@pytest.mark.usefixtures("two_h200")
def test_a_device_that_is_not_here_is_refused():
    with pytest.raises(ValueError, match="2 NVIDIA GPUs are visible"):
        detect("cuda:2")
    with pytest.raises(ValueError, match="unknown device 'tpu'"):
        detect("tpu")


def test_this_machine_is_recognized():
    found = detect("cpu")
    assert found.memory_bytes > GIB
    assert found.cores >= 1
    assert found.hardware_key.startswith("cpu-")


# the engine


def installed(monkeypatch, *packages: str):
    monkeypatch.setattr(hardware, "find_spec", lambda name: name in packages or None)


def test_nvidia_trains_with_torch():
    found = nvidia_hardware(gpu("NVIDIA GB10", (12, 1), None), "cuda:0", 120 * GIB)
    assert hardware.default_engine(found)[:2] == ("torch", "cuda:0")


def test_a_cpu_trains_with_torch(monkeypatch):
    installed(monkeypatch, "torch", "mlx")
    assert hardware.default_engine(cpu_hardware("AMD EPYC", 2, GIB))[:2] == ("torch", "cpu")


def test_a_cpu_with_mlx_alone_is_asked(monkeypatch):
    installed(monkeypatch, "mlx")
    with pytest.raises(ValueError, match="--engine mlx"):
        hardware.default_engine(cpu_hardware("AMD EPYC", 2, GIB))


def apple():
    return apple_hardware(("Apple M5", 32 * GIB, DISPLAYS_M5, "26.2"))


def test_an_apple_chip_trains_with_mlx_when_the_recipe_is_there(monkeypatch, tmp_path):
    installed(monkeypatch, "mlx", "torch")
    monkeypatch.setattr(hardware, "CHECKOUT", tmp_path)
    engine, device, reason = hardware.default_engine(apple())
    assert (engine, device) == ("torch", "mps")
    assert "recipe is not in this checkout" in reason
    (tmp_path / "services/trainer/recipes").mkdir(parents=True)
    (tmp_path / "services/trainer/recipes/gpt_mlx.py").touch()
    assert hardware.default_engine(apple())[:2] == ("mlx", "metal")


def test_an_apple_chip_without_mlx_falls_back_aloud(monkeypatch):
    installed(monkeypatch, "torch")
    engine, device, reason = hardware.default_engine(apple())
    assert (engine, device) == ("torch", "mps")
    assert "mlx is not installed" in reason


def test_an_apple_chip_without_any_engine_is_refused(monkeypatch):
    installed(monkeypatch)
    with pytest.raises(ValueError, match="no engine for this Apple chip"):
        hardware.default_engine(apple())
