"""Ways out of a container, tried: text that is put behind a recipe, or sent to a Python in a container as it is.

FACTS is defined before it. A method whose name begins with `try_` must raise: it is refused. What does not raise got
something. Python's own library only; nothing here harms whom it reaches.
"""

import ctypes
import json
import os
import signal
import socket
import stat
import subprocess
from pathlib import Path

FACTS = globals().get("FACTS", {})
Recipe = globals().get("Recipe")
libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000


def call(function, *arguments):
    if function(*arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def found(things):
    """Nothing there is as good as a refusal."""
    things = [str(thing) for thing in things]
    if not things:
        raise FileNotFoundError("nothing is there")
    return things[:3]


def files_below(folder):
    """Those that can be opened."""
    for path in Path(folder).rglob("*"):
        if path.is_file() and os.access(path, os.R_OK):
            yield path


def plant(folder):
    path = Path(folder, "planted")
    path.write_text("planted")
    path.unlink()


def environment_of(process):
    return Path(f"/proc/{process}/environ").read_text(errors="replace").split("\0")


class Outside:
    """What the container itself must refuse, whoever runs in it."""

    def try_network(self):
        reached = []
        for host, port in FACTS["addresses"]:
            try:
                socket.create_connection((host, port), 2).close()
                reached.append(f"{host}:{port}")
            except OSError:
                continue
        return found(reached)

    def try_names(self):
        known = []
        for name in FACTS["names"]:
            try:
                known.append(socket.gethostbyname(name))
            except OSError:
                continue
        return found(known)

    def try_datagram(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            sending.sendto(b"x", ("192.0.2.1", 53))

    def try_interfaces(self):
        return found(name for _, name in socket.if_nameindex() if name.startswith(("eth", "en", "veth")))

    def try_raw_socket(self):
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)

    def try_secrets(self):
        return found(files_below("/run/secrets"))

    def try_passwords_in_environments(self):
        lines = []
        for process in filter(str.isdigit, os.listdir("/proc")):
            try:
                lines += environment_of(process)
            except OSError:
                continue
        return found(line.split("=")[0] for line in lines if "redis://" in line or "PASSWORD" in line)

    def try_other_runs(self):
        return found(Path("/runs").glob("*"))

    def try_other_spools(self):
        return found(path for stage in FACTS["other_stages"] for path in Path("/spool", stage).glob("*"))

    def try_writing_to_other_spools(self):
        plant(Path("/spool", FACTS["other_stages"][0]))

    def try_writing_datasets(self):
        plant("/are/datasets")

    def try_writing_code(self):
        plant("/app/shared")

    def try_writing_packages(self):
        plant("/opt/venv")

    def try_writing_settings(self):
        plant("/etc")

    def try_becoming_root(self):
        os.setuid(0)

    def try_a_setuid_program(self):
        done = subprocess.run(["su", "root", "-c", "id -u"], input="\n", capture_output=True, text=True, timeout=20)
        return found([done.stdout] if done.stdout.strip() == "0" else [])

    def try_capabilities(self):
        status = Path("/proc/self/status").read_text().split()
        held = int(status[status.index("CapBnd:") + 1], 16) | int(status[status.index("CapEff:") + 1], 16)
        return found([hex(held)] if held or status[status.index("NoNewPrivs:") + 1] != "1" else [])

    def try_mount(self):
        call(libc.mount, b"tmpfs", b"/tmp", b"tmpfs", 0, None)

    def try_user_namespace(self):
        call(libc.unshare, CLONE_NEWUSER)

    def try_mount_namespace(self):
        call(libc.unshare, CLONE_NEWNS)

    def try_chroot(self):
        os.chroot("/tmp")

    def try_device_node(self):
        os.mknod("/tmp/disk", stat.S_IFBLK | 0o666, os.makedev(254, 0))

    def try_disks(self):
        return found(path for path in Path("/dev").iterdir() if stat.S_ISBLK(path.stat().st_mode))

    def try_host_files(self):
        path = FACTS["host_file"].lstrip("/")
        places = [Path("/", path), Path("/proc/1/root", path), Path("/proc/self/root", path), Path("/proc/1/cwd", path)]
        return found(place for place in places if os.path.exists(place))

    def try_above_the_root(self):
        return found(place for place in ("/proc/1/root/../..", "/../..") if "dockerd" in str(os.listdir(place)))

    def try_docker(self):
        reached = []
        for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock"):
            with socket.socket(socket.AF_UNIX) as connection:
                if connection.connect_ex(path) == 0:
                    reached.append(path)
        return found(reached)

    def try_kernel_memory(self):
        return found([file for file in ("/proc/kcore", "/dev/mem", "/dev/kmem") if first_bytes(file)])

    def try_kernel_settings(self):
        os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY))

    def try_system_request(self):
        os.close(os.open("/proc/sysrq-trigger", os.O_WRONLY))

    def try_control_groups(self):
        Path("/sys/fs/cgroup/memory/planted" if Path("/sys/fs/cgroup/memory").exists() else "/sys/fs/cgroup/p").mkdir()

    def try_host_processes(self):
        names = []
        for process in filter(str.isdigit, os.listdir("/proc")):
            try:
                names.append(Path(f"/proc/{process}/comm").read_text().strip())
            except OSError:
                continue
        return found(name for name in names if name in ("dockerd", "containerd", "redis-server", "postgres"))


class Validation:
    """Not where rows are scored: there only the inner fence stands between them and a recipe."""

    def try_validation_rows(self):
        return found(files_below("/are/validation"))


class Inside:
    """What the fence inside the container must refuse a recipe."""

    def try_own_datasets(self):
        return found(files_below("/are/datasets"))

    def try_listing_the_spool(self):
        return os.listdir("/spool/trainer" if Path("/spool/trainer").exists() else "/spool/evaluator")

    def try_writing_beside_the_run(self):
        plant("/spool/trainer")

    def try_poisoning_the_compile_cache(self):
        plant("/are/cache")

    def try_reading_the_compile_cache(self):
        return os.listdir("/are/cache")

    def try_temporary_files(self):
        plant("/tmp")

    def try_memory_of_the_supervisor(self):
        open(f"/proc/{os.getppid()}/mem", "rb").close()

    def try_environment_of_the_supervisor(self):
        return environment_of(os.getppid())

    def try_tracing_the_supervisor(self):
        call(libc.ptrace, 16, os.getppid(), None, None)

    def try_signalling_the_supervisor(self):
        os.kill(os.getppid(), signal.SIGCONT)

    def try_signalling_the_executor(self):
        os.kill(1, signal.SIGCONT)

    def try_any_internet_socket(self):
        socket.socket(socket.AF_INET6)


def first_bytes(file):
    try:
        with open(file, "rb") as stream:
            return stream.read(1)
    except OSError:
        return b""


def outcomes(*families):
    """{name: "refused: why" or "worked: what"} of each attempt; "broken" is a mistake in the attempt itself."""
    report = {}
    for family in families:
        for name in sorted(name for name in dir(family) if name.startswith("try_")):
            try:
                report[name] = f"worked: {getattr(family(), name)()}"
            except OSError as error:
                report[name] = f"refused: {error}"[:100]
            except Exception as error:
                report[name] = f"broken: {error!r}"
    return report


def build(*arguments):
    """Trainer and evaluator both come here; neither goes on when something worked."""
    report = outcomes(Outside, Inside, Validation)
    print("PROBES", json.dumps(report), flush=True)
    if worked := [f"{name} {told}" for name, told in report.items() if not told.startswith("refused")]:
        raise RuntimeError("; ".join(worked))
    return Recipe(*arguments)


if __name__ == "__main__":
    print(json.dumps(outcomes(*(globals()[name] for name in FACTS["families"]))))
