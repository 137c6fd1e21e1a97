"""The fence is tried with real processes: sandbox_probes.py attacks from inside, these tests judge."""

import errno
import itertools
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shared import sandbox
from shared.sandbox import bpf, ending, landlock, seatbelt, seccomp
from shared.sandbox.channel import Channel
from shared.sandbox.ending import Isolation
from shared.sandbox.policy import Policy, recipe_policy
from shared.sandbox.processes import start
from shared.settings import CHECKOUT
from tests.shared.sandbox import filters
from tests.shared.sandbox.sandbox_probes import Probes

needs_fence = pytest.mark.skipif(
    sandbox.describe().chosen != "landlock+seccomp",
    reason=f"Landlock and seccomp are Linux's; here the sandbox is {sandbox.describe().chosen}",
)
ATTACKS = [name for name in dir(Probes) if name.startswith("try_")]
ISOLATION = ending.strongest()
NOTHING = Policy(readable=(), writable=())
NEEDS = [name for name in dir(Probes) if name.startswith("need_")]

HARMLESS = ["open", "list_its_folder", "symlink", "proc_self_root", "parent_descriptor", "path_descriptor"]
HARMLESS += ["reopen_rows_for_writing", "parent_environment", "kill_parent", "list_checkout", "home"]
HARMLESS += ["tcp", "listen", "udp", "unix_socket", "abstract_socket", "datagram_pair", "netlink"]
HARMLESS += ["another_program", "another_program_in_a_new_session", "forked_child", "thread"]
HARMLESS += ["system_v_shared_memory", "system_v_semaphore", "system_v_queue", "page_cache", "word_lists"]
HARMLESS += ["page_cache_without_waiting", "how_long_a_file_lives", "where_the_data_of_a_file_ends"]
HARMLESS += ["where_the_data_of_a_file_begins", "attributes_of_an_open_file"]
HARMLESS = [f"try_{name}" for name in HARMLESS]


Ask = Callable[[dict, int, Path], dict]


@pytest.fixture(scope="module")
def secret(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("dataset") / "validation.bin"
    path.write_text("secret")
    return path


def run_probes(names: list[str], secret: Path, scratch: Path, *, fenced: bool, ask: Ask | None = None) -> dict:
    """What happened to every probe, all in one process. ask: starts it, by default as `ask_child`."""
    rows = secret.with_name("rows.bin")
    rows.write_text("rows")
    abstract = f"are-test-{os.getpid()}-{fenced}"
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_UNIX) as hidden,
        open(secret) as held_open,
        open(rows) as rows_file,
    ):
        for listening, address in ((unix, str(scratch / "listening")), (hidden, "\0" + abstract)):
            listening.bind(address)
            listening.listen()
        orders = {
            "fenced": fenced,
            "alone": fenced and ISOLATION is Isolation.NAMESPACE,
            "supervisor": os.getpid(),
            "probes": names,
            "secret": str(secret),
            "writable": str(scratch),
            "unix_socket": str(scratch / "listening"),
            "abstract_socket": abstract,
            "port": tcp.getsockname()[1],
            "parent_fd": held_open.fileno(),
        }
        return (ask or ask_child)(orders, rows_file.fileno(), scratch / "output.log")


def ask_child(orders: dict, rows_fd: int, output: Path) -> dict:
    ours, theirs = Channel.pair()
    argv = [sys.executable, "-m", "tests.shared.sandbox.sandbox_probes", str(theirs.fileno())]
    isolation = ISOLATION if orders["fenced"] else Isolation.SESSION
    with start(argv, output=output, env_extra={}, pass_fds=[theirs.fileno()], isolation=isolation) as child:
        theirs.close()
        ours.send(orders, fds=[rows_fd])
        try:
            return ours.receive(60)[0]
        except EOFError:
            child.kill()
            pytest.fail(output.read_text())


@pytest.fixture(scope="module")
def outcomes(secret, tmp_path_factory) -> dict:
    left_over = Path("/dev/shm/are-left-over")
    left_over.touch()
    try:
        scratch = tmp_path_factory.mktemp("scratch")
        (scratch / "old").write_text("x")
        os.utime(scratch / "old", (1, 2))
        found = run_probes([*ATTACKS, *NEEDS], secret, scratch, fenced=True)
        return {**found, "old": (scratch / "old").stat().st_atime}
    finally:
        left_over.unlink()


@needs_fence
@pytest.mark.parametrize("attack", ATTACKS)
def test_every_way_out_is_refused(outcomes, attack):
    if attack == "try_kill_parent" and landlock.abi() < 6:
        pytest.skip("signals are fenced from Landlock ABI 6 on")
    assert outcomes[attack] in ("refused", "absent")


@needs_fence
@pytest.mark.parametrize("need", NEEDS)
def test_what_a_recipe_needs_still_works(outcomes, need):
    if need == "need_empty_shared_memory" and "none" in outcomes["choice"]:
        pytest.skip("no namespaces for ordinary users here, so there is no shared memory at all")
    assert outcomes[need] == "worked"


@needs_fence
def test_without_the_fence_the_harmless_attacks_succeed(secret, tmp_path):
    """Else a refusal above would prove nothing."""
    found = run_probes(HARMLESS, secret, tmp_path, fenced=False)
    assert {name: found[name] for name in HARMLESS} == dict.fromkeys(HARMLESS, "worked")


@needs_fence
@pytest.mark.skipif(ISOLATION is not Isolation.NAMESPACE or os.getuid() != 0, reason="access times are root's to fix")
def test_reading_a_file_leaves_no_access_time(outcomes):
    """It would tell a later process what an earlier one had read."""
    assert outcomes["old"] == 1


@needs_fence
def test_the_secret_is_as_it_was(outcomes, secret):
    assert secret.read_text() == "secret"
    assert secret.stat().st_mode & 0o777 == 0o644
    assert secret.stat().st_mtime > 1
    assert not Path("/dev/shm/are-planted").exists()


def run_fenced(code: str, scratch: Path, prepare: str = "", *, gpu: bool = True) -> subprocess.CompletedProcess:
    script = scratch / "fenced.py"
    script.write_text(
        "import os, sys, tempfile\nfrom pathlib import Path\n"
        "from shared.sandbox import apply, recipe_policy, verify\nfrom shared.settings import CHECKOUT\n"
        f"scratch = Path({str(scratch)!r})\n{prepare}\n"
        f"policy = recipe_policy(CHECKOUT, [scratch], gpu={gpu})\napply(policy, alone=False)\n" + code
    )
    environment = {**os.environ, "HOME": str(scratch), "TMPDIR": str(scratch), "PYTHONPATH": str(CHECKOUT)}
    return subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=300)


@needs_fence
def test_our_packages_are_found_from_a_checkout_that_cannot_be_listed(tmp_path):
    code = "import importlib\nimportlib.invalidate_caches()\nimport kernels.rmsnorm\nprint(kernels.rmsnorm)"
    not_installed = "sys.meta_path = [finder for finder in sys.meta_path if 'editable' not in finder.__module__]"
    done = run_fenced(code, tmp_path, not_installed)
    assert "kernels" in done.stdout, done.stderr


@needs_fence
@pytest.mark.parametrize("gpu", [False, True])
def test_torch_trains_inside_the_fence(tmp_path, gpu):
    pytest.importorskip("torch")
    code = (
        "import torch\n"
        "model = torch.nn.Linear(64, 64)\n"
        "optimizer = torch.optim.AdamW(model.parameters())\n"
        "model(torch.randn(8, 64)).square().mean().backward()\n"
        "optimizer.step()\n"
        "print((torch.randn(256, 256) @ torch.randn(256, 256)).shape)"
    )
    done = run_fenced(code, tmp_path, gpu=gpu)
    assert "torch.Size([256, 256])" in done.stdout, done.stderr


@needs_fence
@pytest.mark.slow
@pytest.mark.parametrize("gpu", [False, True])
def test_torch_compiles_inside_the_fence(tmp_path, gpu):
    pytest.importorskip("torch")
    code = (
        "import torch\n"
        "square = torch.compile(lambda x: torch.relu(x).square().sum())\n"
        "x = torch.randn(64, requires_grad=True)\n"
        "square(x).backward()\n"
        "print(torch.allclose(x.grad, 2 * torch.relu(x.detach())))"
    )
    done = run_fenced(code, tmp_path, gpu=gpu)
    assert done.stdout.strip() == "True", done.stderr


@needs_fence
def test_a_process_with_threads_cannot_be_fenced(tmp_path):
    thread = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()"
    assert "before any thread" in run_fenced("", tmp_path, thread).stderr


@needs_fence
def test_a_file_left_open_before_the_fence_is_noticed(tmp_path, secret):
    done = run_fenced(f"verify(policy, [Path({str(secret)!r})])", tmp_path, f"leak = open({str(secret)!r})")
    assert "is open as descriptor" in done.stderr


def test_without_a_fence_the_proof_fails(secret):
    with pytest.raises(RuntimeError, match="does not hold: reading"):
        sandbox.verify(NOTHING, [secret])


def test_a_missing_file_proves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="could not be proved"):
        sandbox.verify(NOTHING, [tmp_path / "missing"])


def test_a_kernel_without_landlock_is_said_aloud(monkeypatch):
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    monkeypatch.setattr(sys, "platform", "linux")
    choice = sandbox.describe()
    assert choice.chosen == "none"
    assert "Landlock" in choice.reason
    assert sandbox.apply(NOTHING, alone=False) == choice


# the policy


def test_the_policy_opens_packages_and_our_folders_but_not_the_checkout(tmp_path):
    readable = recipe_policy(CHECKOUT, [tmp_path]).readable
    assert CHECKOUT / "services" in readable
    assert Path(sys.prefix).resolve() in readable
    assert not any(place.is_relative_to(path) for path in readable for place in (CHECKOUT, Path.home(), Path("/tmp")))


def test_a_run_on_the_cpu_opens_no_gpu(monkeypatch):
    devices = {"nvidia*": ["/dev/nvidia0"], "null": ["/dev/null"], "kfd": ["/dev/kfd"]}
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: map(Path, devices.get(pattern, ())))
    assert recipe_policy(CHECKOUT, [], gpu=False).devices == (Path("/dev/null"),)
    assert set(recipe_policy(CHECKOUT, [], gpu=True).devices) == set(
        map(Path, ("/dev/null", "/dev/nvidia0", "/dev/kfd"))
    )


@pytest.mark.parametrize("folder", ["services/data", "shared", "services"])
def test_a_dataset_below_a_readable_folder_is_refused(tmp_path, folder):
    (tmp_path / "services" / "data").mkdir(parents=True)
    (tmp_path / "shared").mkdir()
    with pytest.raises(ValueError, match="move one of them"):
        recipe_policy(tmp_path, [], protected=[tmp_path / folder])


def test_a_writable_folder_may_not_hold_all_runs(tmp_path):
    with pytest.raises(ValueError, match="move one of them"):
        recipe_policy(CHECKOUT, [tmp_path], protected=[tmp_path / "runs"])


def test_a_run_gets_its_own_folder_inside_the_protected_runs(tmp_path):
    own = tmp_path / "runs" / "one"
    own.mkdir(parents=True)
    assert recipe_policy(CHECKOUT, [own], protected=[tmp_path / "runs"]).writable == (own,)


def test_a_link_to_a_dataset_is_the_dataset(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    with pytest.raises(ValueError, match="move one of them"):
        recipe_policy(CHECKOUT, [], [tmp_path / "link"], protected=[tmp_path / "data" / "rows"])


# the filter, interpreted: so the architecture that does not run here is tested too


def verdict(
    machine: str, number: int, *arguments: int, alone: bool = False, gpu: bool = True, **other: int
) -> int | None:
    """The errno the filter answers with, or None when it allows the call."""
    answer = filters.verdict(seccomp.program(machine, alone=alone, gpu=gpu), machine, number, *arguments, **other)
    return None if answer == bpf.ALLOW else answer & 0xFFFF


OTHER_FAMILIES = {"inet": 2, "inet6": 10, "netlink": 16, "packet": 17, "alg": 38, "vsock": 40}.values()
CLOSE_ON_EXEC = 0o2000000
CLONE_THREAD_FLAGS, CLONE_NEWUSER = 0x3D0F00, 0x10000000


@pytest.mark.parametrize(("machine", "column"), [("x86_64", 0), ("aarch64", 1)])
class TestFilter:
    def test_listed_calls_are_refused(self, machine, column):
        numbers = {name: pair[column] for name, pair in seccomp._REFUSED.items() if pair[column] is not None}
        assert {name: verdict(machine, number) for name, number in numbers.items()} == dict.fromkeys(
            numbers, errno.EPERM
        )

    def test_how_others_are_scheduled_is_theirs_where_they_can_be_named(self, machine, column):
        for call in seccomp._SCHEDULING.values():
            assert verdict(machine, call[column], 0) is None
            assert verdict(machine, call[column], 4711) == errno.EPERM
            assert verdict(machine, call[column], 4711, alone=True) is None
        assert verdict(machine, seccomp._SETAFFINITY[column], 0) is None
        assert verdict(machine, seccomp._SETAFFINITY[column], 4711) == 0
        for call, own in ((seccomp._SETPRIORITY, 0), (seccomp._IOPRIO_SET, 1)):
            assert verdict(machine, call[column], own, 0) is None
            assert verdict(machine, call[column], own, 4711) == errno.EPERM
            assert verdict(machine, call[column], own + 1, 0) == errno.EPERM

    def test_pages_stay_on_their_memory_node_where_no_gpu_is(self, machine, column):
        mbind, interleave, move = seccomp._MBIND[column], (0, 4096, 3, 0, 0, 0), (0, 4096, 3, 0, 0, 2)
        assert verdict(machine, mbind, *interleave, gpu=False) is None
        assert verdict(machine, mbind, *move, gpu=False) == errno.EPERM
        assert verdict(machine, mbind, *move) is None
        for call in seccomp._MOVES.values():
            assert verdict(machine, call[column], gpu=False) == errno.EPERM
            assert verdict(machine, call[column]) is None

    def test_advice_that_others_find_in_memory_is_not_followed(self, machine, column):
        """MADV_COLLAPSE is answered as Linux before 6.1 does, the older ones report success."""
        for advice, answer in {4: None, 14: None, 20: 0, 21: 0, 25: errno.EINVAL}.items():
            assert verdict(machine, seccomp._MADVISE[column], 0, 4096, advice) == answer

    def test_no_other_family_gets_a_socket(self, machine, column):
        for call, family in itertools.product((seccomp._SOCKET, seccomp._SOCKETPAIR), OTHER_FAMILIES):
            assert verdict(machine, call[column], family, socket.SOCK_STREAM) == errno.EACCES

    def test_unix_sockets_need_a_connection_and_get_none(self, machine, column):
        for call in (seccomp._SOCKET, seccomp._SOCKETPAIR):
            assert verdict(machine, call[column], socket.AF_UNIX, socket.SOCK_STREAM | CLOSE_ON_EXEC) is None
            assert verdict(machine, call[column], socket.AF_UNIX, socket.SOCK_SEQPACKET) is None
            assert verdict(machine, call[column], socket.AF_UNIX, socket.SOCK_DGRAM) == errno.EACCES
        assert verdict(machine, seccomp._CONNECT[column]) == errno.EACCES

    def test_threads_start_and_namespaces_do_not(self, machine, column):
        assert verdict(machine, seccomp._CLONE3[column]) == errno.ENOSYS
        assert verdict(machine, seccomp._CLONE[column], CLONE_THREAD_FLAGS) is None
        assert verdict(machine, seccomp._CLONE[column], CLONE_NEWUSER | 17) == errno.EPERM

    def test_only_own_limits_are_set(self, machine, column):
        assert verdict(machine, seccomp._PRLIMIT[column], 0) is None
        assert verdict(machine, seccomp._PRLIMIT[column], 1) == errno.EPERM

    def test_another_architecture_is_refused_whole(self, machine, column):
        assert verdict(machine, 0, architecture=0x40000003) == errno.EPERM

    def test_nothing_is_written_beside_a_file(self, machine, column):
        """FS_IOC_SETFLAGS, FS_IOC_SETVERSION, FS_IOC_FSSETXATTR, FIDEDUPERANGE, hints. Terminals and GPUs work."""
        for command in (0x40086602, 0x40087602, 0x401C5820, 0xC0189436):
            assert verdict(machine, seccomp._IOCTL[column], 3, command) == errno.ENOTTY
        for command in (0x5401, 0xC0304627, 0xC020462A, 0x30000001, 0xC0086409):
            assert verdict(machine, seccomp._IOCTL[column], 3, command) is None
        assert verdict(machine, seccomp._FCNTL[column], 3, 1036) == errno.EINVAL
        assert verdict(machine, seccomp._FCNTL[column], 3, 1033) is None

    def test_reading_writing_and_ioctl_pass(self, machine, column):
        for numbers in ((0, 63), (1, 64), (16, 29), (9, 222), (202, 98)):
            assert verdict(machine, numbers[column]) is None


def test_the_second_64_bit_call_table_is_refused():
    assert verdict("x86_64", 0x40000000 | 41) == errno.EPERM


# macOS, by its text


def may_read(profile: str, path: str) -> bool:
    """As the last rule says that matches; `allow default` stands first."""
    verdict = True
    for line in profile.splitlines():
        for kind, named in re.findall(r'\((subpath|literal) "([^"]*)"\)', line) if "file-read-data" in line else ():
            if path == named or (kind == "subpath" and path.startswith(f"{named}/")):
                verdict = line.startswith("(allow")
    return verdict


def test_the_profile_lets_the_most_exact_path_decide():
    policy = Policy(
        readable=(Path("/System"), Path("/Users/me/checkout/shared"), Path("/Users/me/runs/mine/recipe.py")),
        writable=(Path("/Users/me/run"),),
        protected=(Path("/data"), Path("/Users/me/runs")),
    )
    profile = seatbelt.profile(policy)
    assert profile.splitlines()[:3] == ["(version 1)", "(allow default)", "(deny network*)"]
    readable = [
        "/System/Library/x",
        "/Users/me/checkout/shared/a.py",
        "/Users/me/run/x",
        "/Users/me/runs/mine/recipe.py",
    ]
    closed = ["/Users/me/.ssh/id", "/data/rows", "/Users/me/runs/other/recipe.py", "/private/tmp/x", "/Volumes/disk/x"]
    closed += ["/System/Volumes/Data/Users/me/.ssh/id", "/System/Volumes/Data/private/tmp/x"]
    assert [path for path in readable if not may_read(profile, path)] == []
    assert [path for path in closed if may_read(profile, path)] == []
    lines = profile.splitlines()
    assert lines.index("(deny file-write*)") < lines.index('(allow file-write* (subpath "/Users/me/run"))')


def test_python_may_list_the_folder_around_a_readable_package_and_read_nothing_else_in_it():
    policy = Policy(readable=(CHECKOUT / "shared",), writable=(), protected=(CHECKOUT,))
    profile = seatbelt.profile(policy)
    assert may_read(profile, str(CHECKOUT))
    assert may_read(profile, str(CHECKOUT / "shared" / "files.py"))
    assert not may_read(profile, str(CHECKOUT / "README.md"))


def test_services_that_remember_or_read_for_others_are_closed():
    profile = seatbelt.profile(NOTHING)
    for name in ("com.apple.cfprefsd.daemon", "com.apple.pasteboard.1", "com.apple.SecurityServer"):
        assert f'(global-name "{name}")' in profile
    for name in ("com.apple.metadata.mds", "com.apple.diagnosticd", "com.apple.system.notification_center"):
        assert f'(global-name "{name}")' in profile
    for rule in ("ipc-sysv*", "mach-register", "file-issue-extension", "iokit-set-properties", "system-socket"):
        assert f"(deny {rule})" in profile


def test_what_the_system_logged_for_one_recipe_is_closed_to_the_next():
    profile = seatbelt.profile(Policy(readable=(Path("/private/var/db"),), writable=()))
    assert may_read(profile, "/private/var/db/timezone/zoneinfo")
    for place in ("/private/var/db/diagnostics/Persist/0.tracev3", "/private/var/log/system.log", "/cores/core.1"):
        assert not may_read(profile, place)


def test_attributes_of_a_file_are_as_closed_as_its_content():
    lines = seatbelt.profile(Policy(readable=(Path("/Users/me/a"),), writable=())).splitlines()
    of_data = [line for line in lines if "file-read-data" in line]
    assert of_data
    assert all("file-read-data file-read-xattr" in line for line in of_data)


def test_other_processes_are_neither_looked_at_nor_signalled():
    lines = seatbelt.profile(NOTHING).splitlines()
    assert '(deny sysctl-read (sysctl-name-prefix "kern.procargs"))' in lines
    for operation in ("process-info*", "signal"):
        deny, allow = f"(deny {operation})", f"(allow {operation} (target same-sandbox))"
        assert lines.index(deny) + 1 == lines.index(allow)


def test_no_program_that_changes_its_user_can_be_made_even_where_writing_is_allowed():
    lines = seatbelt.profile(Policy(readable=(), writable=(Path("/Users/me/run"),))).splitlines()
    assert lines[-1] == "(deny file-write-setugid)"


def test_a_file_of_a_mac_has_two_names():
    users, data = Path("/Users/me/x"), Path("/System/Volumes/Data/Users/me/x")
    assert seatbelt.spellings(users) == [users, data]
    assert seatbelt.spellings(data) == [data, users]


def test_a_second_name_that_leads_nowhere_needs_no_refusal(monkeypatch, tmp_path):
    first, second, neither = (tmp_path / name for name in ("first", "second", "neither"))
    first.write_text("")
    second.write_text("")
    monkeypatch.setattr(sys, "platform", "darwin")
    for other, tried in ((second, [first, second]), (neither, [first])):
        monkeypatch.setattr(seatbelt, "spellings", lambda path, other=other: [path, other])
        refused: list[str] = []
        monkeypatch.setattr(sandbox, "_expect_denied", lambda what, attempt, refused=refused: refused.append(what))
        sandbox.verify(NOTHING, [first])
        assert [what for what in refused if what.startswith("reading")] == [f"reading {path}" for path in tried]


def test_a_process_that_is_in_a_sandbox_of_its_agent_is_told_to_submit(monkeypatch, tmp_path):
    refusing = tmp_path / "sandbox-exec"
    refusing.write_text("#!/bin/sh\necho 'sandbox_apply: Operation not permitted' >&2\nexit 71\n")
    refusing.chmod(0o755)
    monkeypatch.setattr(seatbelt, "PROGRAM", str(refusing))
    monkeypatch.setattr(sys, "platform", "darwin")
    seatbelt.nests.cache_clear()
    choice = sandbox.describe()
    seatbelt.nests.cache_clear()
    assert choice.chosen == "none"
    assert "autoresearch submit" in choice.reason


def test_metals_compiler_is_handed_what_the_process_may_write_and_nothing_else():
    lines = seatbelt.profile(Policy(readable=(Path("/Users/me/a"),), writable=(Path("/Users/me/run"),))).splitlines()
    denied, allowed = (line for line in lines if "file-issue-extension" in line)
    assert denied == "(deny file-issue-extension)"
    assert re.findall(r'\((?:subpath|literal|path) "([^"]*)"\)', allowed) == ["/Users/me/run"]
    assert allowed.count("(") == allowed.count(")")
    assert [line for line in seatbelt.profile(NOTHING).splitlines() if "file-issue-extension" in line] == [denied]


def test_quotes_in_a_path_do_not_leave_the_profile_string():
    profile = seatbelt.profile(Policy(readable=(), writable=(Path('/x") (allow network*'),)))
    assert r"(subpath \"" not in profile
    assert r'"/x\") (allow network*"' in profile


def test_the_command_is_wrapped_only_where_seatbelt_fences(monkeypatch):
    policy = NOTHING
    assert seatbelt.wrap(["python"], policy)[0::3] == [seatbelt.PROGRAM, "python"]
    if sys.platform == "linux":
        assert sandbox.wrap(["python"], policy) == ["python"]
