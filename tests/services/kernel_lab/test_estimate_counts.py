"""What is counted of functions that can be counted by hand. Needs Triton (pip install -e '.[lab]'), and no GPU."""

from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

pytest.importorskip("triton", reason="an estimate needs Triton: pip install -c constraints.txt -e '.[lab]'")

from kernels.attention.absent import visible_pairs
from kernels.op_cost import OpCost, op_cost
from services.kernel_lab.estimate.compile_matrix import compile_all
from services.kernel_lab.estimate.compiler import AbsentCompiler
from services.kernel_lab.estimate.graph_memory import peak_of
from services.kernel_lab.estimate.recorder import Recorder
from shared.kernel_lab.estimate import Kind, Phase
from shared.machine.gpus import find_gpu

M, K, N = 64, 96, 256
BF16 = 2  # bytes


class Counting:
    """Runs a function twice, compiled for the absent GPU, and keeps what the second call started."""

    def __init__(self, function, compiled: bool = True, target: str = "h100", graphs: bool = False):
        self.recorder = Recorder()
        self.compiler = AbsentCompiler(find_gpu(target), self.recorder, graphs)
        self.function = self.compiler.compile(function) if compiled else function

    def __call__(self, *inputs):
        self.function(*inputs)
        with self.recorder:
            self.function(*inputs)
        return {(one.kind, one.op if one.kind is Kind.CUSTOM else one.kernel): one for one in self.recorder.counts()}

    @property
    def total(self):
        kernels = self.recorder.counts()
        return tuple(sum(getattr(one, name) for one in kernels) for name in ("launches", "bytes", "flops"))


@pytest.fixture
def fake():
    torch._dynamo.reset()
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        yield mode


def bf16(*shape, **options):
    return torch.empty(shape, dtype=torch.bfloat16, **options)


def test_one_product_and_one_pointwise_kernel_equal_the_count_by_hand(fake):
    counting = Counting(lambda x, w: (x @ w).relu().square())
    kernels = counting(bf16(M, K), bf16(K, N))
    product = kernels[Kind.PRODUCT, "mm"]
    assert (product.launches, product.bytes, product.flops) == (1, BF16 * (M * K + K * N + M * N), 2 * M * K * N)
    (pointwise,) = [one for (kind, _), one in kernels.items() if kind is Kind.TRITON]
    assert (pointwise.launches, pointwise.bytes, pointwise.flops) == (1, BF16 * 2 * M * N, 0)


def test_what_a_product_is_added_to_is_copied_first_unless_it_is_a_row(fake):
    batched = Counting(lambda s, x, w: torch.baddbmm(s, x, w, beta=2.0))
    batched(bf16(3, M, N), bf16(3, M, K), bf16(3, K, N))
    assert batched.total == (2, BF16 * 3 * (M * K + K * N + 4 * M * N), 3 * 2 * M * K * N)
    torch._dynamo.reset()
    row = Counting(torch.addmm, compiled=False)
    row(bf16(N), bf16(M, K), bf16(K, N))
    assert row.total == (1, BF16 * (N + M * K + K * N + M * N), 2 * M * K * N)


def test_forward_and_backward_of_a_product_are_three_products(fake):
    def loss(x, w):
        (x @ w).square().sum().backward()

    x, w = bf16(M, K, requires_grad=True), bf16(K, N, requires_grad=True)
    counting = Counting(lambda x, w: (x @ w).square().sum())
    forward = counting.function
    counting.function = lambda x, w: forward(x, w).backward()
    counting(x, w)
    by_phase = {phase: [k for k in counting.recorder.counts() if k.phase is phase] for phase in Phase}
    assert sum(k.flops for k in by_phase[Phase.FORWARD]) == 2 * M * K * N
    assert sum(k.flops for k in by_phase[Phase.BACKWARD]) == 2 * 2 * M * K * N
    # the second backward adds to the gradients of the first: each is read twice and written once
    added = [k for k in by_phase[Phase.BACKWARD] if k.kind is Kind.EAGER and k.kernel.startswith("add")]
    assert sum(k.bytes for k in added) == 3 * BF16 * (M * K + K * N)
    assert sum(k.launches for k in added) == 2


def test_a_reduction_reads_its_input_once_and_writes_one_number_a_row(fake):
    counting = Counting(lambda x: x.float().sum(-1))
    counting(bf16(M, N))
    assert counting.total == (1, BF16 * M * N + 4 * M, 0)


def test_uncompiled_lines_start_a_kernel_for_each_op(fake):
    def update(p, g):
        with torch.no_grad():
            p.add_(g)
            p.view(-1).zero_()
            return p.t()

    counting = Counting(update, compiled=False)
    kernels = counting(bf16(M, N), bf16(M, N))
    assert kernels[Kind.EAGER, "add_"].bytes == BF16 * 3 * M * N
    assert kernels[Kind.EAGER, "zero_"].bytes == BF16 * M * N
    assert counting.total[0] == 2
    assert {one.phase for one in kernels.values()} == {Phase.OPTIMIZER}


def test_a_fused_optimizer_is_counted_by_the_chunks_its_launches_hold(fake):
    weights = [torch.nn.Parameter(torch.empty(65536 * 320)), torch.nn.Parameter(torch.empty(65536))]
    optimizer = torch.optim.AdamW(weights, fused=True)

    def step():
        for w in weights:
            w.grad = torch.empty_like(w)
        optimizer.step()

    counting = Counting(step, compiled=False)
    kernels = counting()
    fused = kernels[Kind.EAGER, "_fused_adamw_"]
    numbers = 65536 * 321
    # read: weight, gradient, both moments, one step each; written: all but the gradient, which may be unscaled too
    assert fused.launches == 2
    assert 7 * 4 * numbers <= fused.bytes <= 8 * 4 * numbers + 64


def test_a_cuda_graph_is_one_launch_of_the_host(fake):
    chain = lambda x, w: ((x @ w).relu() @ w.t()).relu()  # noqa: E731
    for graphs, host_launches in ((False, 4), (True, 1)):
        torch._dynamo.reset()
        counting = Counting(chain, graphs=graphs)
        counting(bf16(M, K), bf16(K, N))
        assert counting.recorder.host_launches == host_launches
        assert counting.total[0] == 4


def test_a_whole_step_is_one_launch_of_the_host_beside_its_rows_and_its_loss(fake):
    recorder = Recorder()
    compute = lambda rows: (rows * 2).sum()  # noqa: E731
    for whole_step, host_launches in ((False, 2), (True, 3)):
        run = recorder.choose_step(SimpleNamespace(whole_step=whole_step), compute, list)
        before = recorder.host_launches
        with recorder:
            run(bf16(M, N))
        assert recorder.host_launches - before == host_launches
    assert sum(one.launches for one in recorder.counts() if one.kernel in ("mul", "sum")) == 4, "kernels stay"


def test_memory_is_that_of_the_arrays_alive_together(fake):
    """By hand: backward begins with relu and m = relu w^T, and overwrites m; x and w outlive it."""

    def loss(x, w):
        return ((x @ w).relu() @ w.t()).float().square().sum()

    x, w = bf16(M, N, requires_grad=True), bf16(N, 4 * N, requires_grad=True)
    counting = Counting(loss)
    forward = counting.function
    counting.function = lambda x, w: forward(x, w).backward()
    counting(x, w)
    peaks = {phase: lowered.peak_bytes for phase, lowered, _ in counting.compiler.lowered}
    small, wide, weight = BF16 * M * N, BF16 * M * 4 * N, BF16 * N * 4 * N
    assert peaks[Phase.FORWARD] == pytest.approx(wide + small, abs=256)
    # when both gradients of w are added up: the gradients of relu and of x, that of one use of w, and the sum
    assert peaks[Phase.BACKWARD] == pytest.approx(wide + small + 2 * weight, abs=256)


INT64 = 8
ROWS, WIDTH, TOKENS = 4096, 256, 48  # fewer tokens than rows of the table
TABLE, READ = ROWS * WIDTH, TOKENS * WIDTH


def tokens(count=TOKENS):
    return torch.zeros(count, dtype=torch.int64)


def test_a_lookup_reads_the_rows_that_it_asks_for(fake):
    """By hand: tokens, their rows, and the normed rows. The norm fuses with the lookup, which is read twice in it."""
    counting = Counting(
        lambda table, at: torch.nn.functional.rms_norm(torch.nn.functional.embedding(at, table), (WIDTH,))
    )
    counting(bf16(ROWS, WIDTH), tokens())
    assert counting.total == (1, INT64 * TOKENS + BF16 * 2 * READ, 0)


def test_a_lookup_reads_no_more_than_the_table(fake):
    counting = Counting(lambda table, at: torch.nn.functional.rms_norm(table[at], (WIDTH,)))
    counting(bf16(ROWS, WIDTH), tokens(3 * ROWS))
    assert counting.total == (1, INT64 * 3 * ROWS + BF16 * (TABLE + 3 * TABLE), 0)


def test_a_lookup_of_single_numbers_reads_as_many_as_there_are_indices(fake):
    """Beside a sum over whole rows of another array, with which it fuses."""
    counting = Counting(lambda x, y, at: x.float().sum(-1) + y.gather(1, at).float().sum(-1))
    counting(bf16(TOKENS, WIDTH), bf16(TOKENS, ROWS), torch.zeros(TOKENS, 4, dtype=torch.int64))
    moved = BF16 * (READ + 4 * TOKENS) + INT64 * 4 * TOKENS + 4 * TOKENS
    assert counting.total[1] == moved + (counting.total[0] - 1) * 2 * 4 * TOKENS, "and what is between two kernels"


@pytest.mark.parametrize("target", ["h100", "a100"])
def test_the_gradient_of_a_lookup_changes_the_rows_that_were_read(target, fake):
    """By hand: zeros are written to the whole; then gradients and tokens are read, rows read and written. On an A100,
    which adds no bfloat16 numbers in place, a library does it."""
    sums = Counting(lambda g, at: torch.zeros(ROWS, WIDTH, dtype=g.dtype).index_put((at,), g * 2, True), target=target)
    sums(bf16(TOKENS, WIDTH), tokens())
    by_hand = BF16 * TABLE + INT64 * TOKENS + BF16 * READ + 2 * BF16 * READ
    launches, moved, _ = sums.total
    if target == "a100":  # twice the gradient is an array of its own there
        launches, moved = launches - 1, moved - 2 * BF16 * READ
    assert (launches, moved) == (2, by_hand)


@pytest.mark.parametrize("count", [TOKENS, 2 * ROWS])
def test_a_sum_by_index_that_fuses_with_its_terms_changes_no_more_than_the_whole(count, fake):
    """By hand: zeros; then terms are read, doubled and written, tokens read, and rows of the sum read and written."""

    def doubled_and_summed(g, at):
        twice = g * 2
        return twice, torch.zeros(ROWS, WIDTH).index_put((at,), twice, True)

    counting = Counting(doubled_and_summed)
    counting(torch.empty(count, WIDTH), tokens(count))
    changed = min(count, ROWS) * WIDTH
    assert counting.total == (2, 4 * TABLE + 2 * 4 * count * WIDTH + INT64 * count + 2 * 4 * changed, 0)


def test_backward_of_an_embedding_is_counted_the_same_way(fake):
    counting = Counting(lambda table, at: torch.nn.functional.embedding(at, table).square().sum())
    forward = counting.function

    def step(table, at):
        table.grad = None
        forward(table, at).backward()

    counting.function = step
    counting(torch.empty(ROWS, WIDTH, requires_grad=True), tokens())
    backward = [one for one in counting.recorder.counts() if one.phase is Phase.BACKWARD]
    # zeros; then the gradient of the sum, one number, tokens, rows of the table, and rows of its gradient
    assert sum(one.bytes for one in backward) == 4 * TABLE + 4 + INT64 * TOKENS + 4 * READ + 2 * 4 * READ


def test_numbers_that_are_replaced_by_index_are_only_written(fake):
    def replace(x, at, y):
        x[at] = y + 1
        return x

    counting = Counting(replace)
    counting(bf16(ROWS, WIDTH), tokens(), bf16(TOKENS, WIDTH))
    assert counting.total[1] == INT64 * TOKENS + 2 * BF16 * READ


def test_uncompiled_lookups_and_sums_count_what_they_reach(fake):
    def lines(table, at, y):
        with torch.no_grad():
            rows = torch.nn.functional.embedding(at, table)
            table.index_select(0, at)
            table.index_add_(0, at, y)
            table.index_put_((at,), y)
            table.index_put((at,), y, True)
            return torch.ops.aten.embedding_dense_backward(rows, at, ROWS, -1, False)

    kernels = Counting(lines, compiled=False)(bf16(ROWS, WIDTH), tokens(), bf16(TOKENS, WIDTH))
    found = {name: one.bytes for (kind, name), one in kernels.items() if kind is Kind.EAGER}
    given = INT64 * TOKENS + BF16 * READ
    assert found["embedding"] == found["index_select"] == given + BF16 * READ
    assert found["index_add_"] == given + 2 * BF16 * READ
    assert found["index_put_"] == given + BF16 * READ
    assert found["index_put"] == given + 2 * BF16 * READ + 2 * BF16 * TABLE, "a copy of the whole first"
    assert found["embedding_dense_backward"] == given + 2 * BF16 * READ + BF16 * TABLE, "zeros first"


WRITTEN = """
def call(self, args):
    saved, weight = args
    args.clear()
    with torch.cuda._DeviceGuard(0):
        buf0 = empty_strided_cuda((4, 8), (8, 1), torch.float32)
        buf1 = saved; del saved  # reuse
        kernel.run(buf1, buf0, weight)
        del buf0
        buf2 = torch.ops.some.two.default(buf1)
        buf3 = buf2[0]
        del buf2
        buf4 = empty_strided_cuda((4, ), (1, ), torch.bfloat16)
        del buf1
    return (reinterpret_tensor(buf3, (8, 4), (1, 8), 0), buf4, )
"""


def test_a_kernel_that_overwrites_its_argument_adds_nothing_to_the_memory():
    sizes = {"buf3": 50}
    assert peak_of(WRITTEN, {"saved": 100}, lambda name: sizes.get(name, 0)) == 100 + 4 * 8 * 4
    apart = WRITTEN.replace("buf1 = saved; del saved", "buf1 = empty_strided_cuda((25, ), (1, ), torch.float32)")
    assert peak_of(apart, {"saved": 100}, lambda name: sizes.get(name, 0)) == 100 + 4 * 8 * 4 + 100


@torch.library.custom_op("estimate_test::scaled", mutates_args=())
def scaled(x: torch.Tensor, by: float) -> torch.Tensor:
    return x * by


@scaled.register_fake
def _(x, by):
    return torch.empty_like(x)


@torch.library.custom_op("estimate_test::told", mutates_args=())
def told(x: torch.Tensor) -> torch.Tensor:
    return x * 2


@told.register_fake
def _(x):
    return torch.empty_like(x)


@op_cost("estimate_test::told")
def _told_cost(x):
    return OpCost(bytes=7 * x.numel(), flops=11, launches=3)


def test_a_custom_op_moves_its_arrays_once_unless_it_says_what_it_costs(fake):
    counting = Counting(lambda x: (torch.ops.estimate_test.scaled(x, 2.0), torch.ops.estimate_test.told(x)))
    counting(bf16(M, N))
    found = {one.kernel: one for one in counting.recorder.counts()}
    assert (found["scaled"].launches, found["scaled"].bytes) == (1, BF16 * 2 * M * N)
    assert (found["told"].launches, found["told"].bytes, found["told"].flops) == (3, 7 * M * N, 11)


@pytest.mark.parametrize(("length", "window"), [(7, 7), (7, 6), (7, 3), (8, 1), (5, 0)])
def test_attention_counts_the_pairs_that_see_each_other(length, window):
    pairs = [(i, j) for i in range(length) for j in range(length) if i - window <= j <= i]
    assert visible_pairs(length, window) == len(pairs)


@pytest.mark.parametrize("target", ["a100", "h100", "b200", "rtx50", "gb10"])
def test_what_inductor_writes_compiles_for_every_architecture(fake, target):
    counting = Counting(lambda x: torch.nn.functional.rms_norm(x, (N,)).relu(), target=target)
    counting(bf16(M, N))
    (compiled,) = compile_all(counting.compiler)
    assert compiled.error is None
    assert compiled.architecture == find_gpu(target).architecture
