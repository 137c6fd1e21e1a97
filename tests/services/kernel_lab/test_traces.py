"""Traces: families by time, the bottleneck by the gaps, and one clear line for what is no trace."""

import gzip
import json
from pathlib import Path

import pytest

from services.kernel_lab import auto_review, trace_profile
from services.kernel_lab.families import family_of
from services.kernel_lab.trace_events import HostCall, self_times
from shared.kernel_lab.job import AutoReview, LabStatus, TraceProfile
from tests.services.kernel_lab import traces

RECORDED = Path(__file__).parent / "recorded" / "cpu_step.json"
"""two steps of a small model under torch.profiler 2.13 on a CPU"""


def profiled(path, top_k=5):
    return trace_profile.answer(TraceProfile(trace=path, top_k=top_k), None)


def reviewed(path):
    return auto_review.answer(AutoReview(trace=path), None)


@pytest.mark.parametrize("name", ["launch_bound", "sync_bound", "copy_bound", "kernel_dominated", "mixed"])
def test_a_bottleneck_is_named(name, tmp_path):
    answer = reviewed(getattr(traces, name)().write(tmp_path / "trace.json"))
    assert answer.data["verdict"] == name.replace("_", "-"), answer.lines
    assert sum(answer.data["shares"].values()) == pytest.approx(1.0)


def test_families_are_shares_of_the_time_on_the_device(tmp_path):
    answer = profiled(traces.kernel_dominated().write(tmp_path / "trace.json"))
    shares = {one["family"]: one["share"] for one in answer.data["families"]}
    assert shares == pytest.approx({"matmul": 2 / 3, "mlp": 1 / 3})
    assert answer.data["families"][0]["calls"] == 30


def test_a_trace_may_be_gzipped(tmp_path):
    plain = traces.copy_bound().write(tmp_path / "trace.json")
    packed = tmp_path / "trace.json.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert profiled(packed).data["families"] == profiled(plain).data["families"]


def test_a_recorded_trace_of_a_cpu_is_profiled_by_its_operators_and_its_gaps_are_not_judged():
    answer = profiled(RECORDED)
    assert answer.data["kind"] == "cpu"
    assert answer.data["families"][0]["family"] == "data_movement"
    assert {one["family"] for one in answer.data["families"]} >= {"matmul", "optimizer", "mlp"}
    assert reviewed(RECORDED).status is LabStatus.INSUFFICIENT_TRACE_DATA
    assert reviewed(RECORDED).headline.endswith("trace-profile reads it")


def test_an_operator_counts_without_those_that_it_calls():
    calls = [HostCall("outer", 0, 10), HostCall("inner", 2, 5), HostCall("inner", 6, 8), HostCall("outer", 20, 25)]
    assert self_times(calls) == {"inner": (5.0, 2), "outer": (10.0, 2)}


@pytest.mark.parametrize(
    ("kernel", "family"),
    [
        ("nvjet_tst_128x256_64x4_2x1_v_bz_coopB_TNT", "matmul"),
        ("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64", "matmul"),
        ("triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_3", "norm"),
        ("triton_poi_fused__to_copy_pow_relu_4", "mlp"),
        ("triton_red_fused__log_softmax__to_copy_mul_tanh_7", "loss"),
        ("void flash_fwd_kernel<Flash_fwd_kernel_traits<128>>", "attention"),
        ("void at::native::(anonymous namespace)::multi_tensor_apply_kernel", "optimizer"),
        ("Memcpy DtoH (Device -> Pageable)", "data_movement"),
        ("void at::native::vectorized_elementwise_kernel<4>", "pointwise"),
        ("something_nobody_knows", "other"),
    ],
)
def test_kernels_are_sorted_into_families_by_their_names(kernel, family):
    assert family_of(kernel) == family


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no whole JSON"),
        ('{"traceEvents": [{"ph": "X"', "no whole JSON"),
        ("[]", "no trace of torch.profiler"),
        ('{"displayTimeUnit": "ms"}', "has no list 'traceEvents'"),
        ('{"traceEvents": {"a": 1}}', "has no list 'traceEvents'"),
        ('{"traceEvents": [{"ph": "X", "begin": 1}]}', "another schema"),
        ('{"traceEvents": [{"ph": "X", "ts": "soon", "name": "x"}]}', "another schema"),
    ],
)
def test_what_is_no_trace_is_one_line(tmp_path, content, said):
    path = tmp_path / "trace.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=said) as raised:
        profiled(path)
    assert "\n" not in str(raised.value)


def test_a_missing_trace_says_how_to_record_one(tmp_path):
    with pytest.raises(ValueError, match="lab profile --output"):
        profiled(tmp_path / "trace.json")


def test_too_little_to_judge_by_is_said(tmp_path):
    few = traces.Recording().kernel(10).kernel(10).write(tmp_path / "few.json")
    assert reviewed(few).status is LabStatus.INSUFFICIENT_TRACE_DATA
    recording = traces.launch_bound()
    recording.events = [event for event in recording.events if event["cat"] == "kernel"]
    blind = recording.write(tmp_path / "blind.json")
    assert "launches are missing" in reviewed(blind).headline
    still = traces.launch_bound()
    still.events = [{**event, "ts": 0, "dur": 0} for event in still.events]
    timeless = still.write(tmp_path / "timeless.json")
    assert "no time passes" in reviewed(timeless).headline
    assert profiled(timeless).status is LabStatus.INSUFFICIENT_TRACE_DATA
    empty = tmp_path / "empty.json"
    empty.write_text(json.dumps({"traceEvents": []}))
    assert profiled(empty).status is LabStatus.INSUFFICIENT_TRACE_DATA
