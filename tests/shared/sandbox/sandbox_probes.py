"""The hostile side of test_sandbox.py: fences itself, then tries every way out it knows and reports what happened.

python -m tests.shared.sandbox.sandbox_probes CHANNEL_FD, started by the tests; a method whose name begins with
`try_` must be refused, one with `need_` must work.
"""

import ctypes
import errno
import fcntl
import mmap
import multiprocessing
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from shared.sandbox import apply, recipe_policy, verify
from shared.sandbox.channel import Channel
from shared.settings import CHECKOUT

libc = ctypes.CDLL(None, use_errno=True)


def call(function, *arguments) -> int:
    """A libc call that raises like Python's own."""
    result = function(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


class Probes:
    def __init__(self, orders: dict, rows_fd: int):
        self.secret = Path(orders["secret"])
        self.writable = Path(orders["writable"])
        self.unix_socket, self.abstract_socket = orders["unix_socket"], orders["abstract_socket"]
        self.port, self.parent, self.parent_fd = orders["port"], orders["supervisor"], orders["parent_fd"]
        self.alone = orders["alone"]
        self.rows_fd = rows_fd

    def try_open(self):
        open(self.secret).close()

    def try_list_its_folder(self):
        os.listdir(self.secret.parent)

    def try_rename_it_here(self):
        os.rename(self.secret, self.writable / "stolen")

    def try_rename_over_it(self):
        (self.writable / "forged").write_text("forged")
        os.rename(self.writable / "forged", self.secret)

    def try_hard_link(self):
        os.link(self.secret, self.writable / "hard")

    def try_symlink(self):
        (self.writable / "soft").symlink_to(self.secret)
        (self.writable / "soft").read_text()

    def try_proc_self_root(self):
        Path(f"/proc/self/root{self.secret}").read_text()

    def try_parent_root(self):
        Path(f"/proc/{self.parent}/root{self.secret}").read_text()

    def try_parent_descriptor(self):
        os.open(f"/proc/{self.parent}/fd/{self.parent_fd}", os.O_RDONLY)

    def try_reopen_rows_for_writing(self):
        os.open(f"/proc/self/fd/{self.rows_fd}", os.O_RDWR)

    def try_path_descriptor(self):
        root = os.open("/", os.O_PATH)
        os.open(str(self.secret).lstrip("/"), os.O_RDONLY, dir_fd=root)

    def try_parent_memory(self):
        open(f"/proc/{self.parent}/mem", "rb").close()

    def try_parent_environment(self):
        Path(f"/proc/{self.parent}/environ").read_bytes()

    def try_process_vm_readv(self):
        call(libc.process_vm_readv, self.parent, None, 0, None, 0, 0)

    def try_ptrace_parent(self):
        call(libc.ptrace, 16, self.parent, None, None)

    def try_kill_parent(self):
        os.kill(self.parent, signal.SIGCONT)

    def try_kill_its_process_group(self):
        """The launcher outside was in it; the parent's own is another one."""
        os.kill(os.getppid(), signal.SIGCONT)

    def try_system_v_shared_memory(self):
        call(libc.shmget, 4711, 4096, 0o1600)

    def try_system_v_semaphore(self):
        call(libc.semget, 4711, 1, 0o1600)

    def try_system_v_queue(self):
        call(libc.msgget, 4711, 0o1600)

    def try_posix_queue(self):
        call(libc.mq_open, b"/are-planted", os.O_CREAT | os.O_RDWR, 0o600, None)

    def try_page_cache(self):
        with mmap.mmap(-1, 4096) as page:
            address = ctypes.addressof(ctypes.c_char.from_buffer(page))
            call(libc.mincore, ctypes.c_void_p(address), 4096, ctypes.create_string_buffer(1))

    def try_page_cache_without_waiting(self):
        with open(sys.executable, "rb") as file:
            os.preadv(file.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT)

    def try_flags_of_a_file(self):
        """chattr +d"""
        self.of_own_file(lambda file: fcntl.ioctl(file, 0x40086602, struct.pack("l", 0x40)))

    def try_generation_of_a_file(self):
        self.of_own_file(lambda file: fcntl.ioctl(file, 0x40087602, struct.pack("l", 1)))

    def try_how_long_a_file_lives(self):
        """F_SET_RW_HINT"""
        self.of_own_file(lambda file: fcntl.fcntl(file, 1036, struct.pack("Q", 2)))

    def try_where_the_data_of_a_file_ends(self):
        self.of_own_file(lambda file: os.lseek(file.fileno(), 0, os.SEEK_HOLE))

    def try_where_the_data_of_a_file_begins(self):
        self.of_own_file(lambda file: os.lseek(file.fileno(), 0, os.SEEK_DATA))

    def try_attributes_of_an_open_file(self):
        self.of_own_file(lambda file: os.listxattr(file.fileno()))

    def of_own_file(self, ask):
        (self.writable / "own").write_text("own")
        with open(self.writable / "own") as file:
            try:
                ask(file)
            except OSError as error:
                # the fence speaks as a file system that knows no such thing
                if error.errno in (errno.ENOTTY, errno.EINVAL, errno.EOPNOTSUPP):
                    raise PermissionError(str(error)) from None
                raise

    def try_word_lists(self):
        os.listdir("/usr/share/doc")

    def try_limit_parent(self):
        import resource

        resource.prlimit(self.parent, resource.RLIMIT_NOFILE, (1024, 1024))

    def try_kernel_memory(self):
        if not os.path.exists("/proc/kcore"):
            raise PermissionError("this kernel has none")
        open("/proc/kcore", "rb").close()

    def try_shadow(self):
        open("/etc/shadow").close()

    def try_delete(self):
        self.secret.unlink()

    def try_truncate(self):
        os.truncate(self.secret, 0)

    def try_write_to_checkout(self):
        (CHECKOUT / "shared" / "planted.py").write_text("")

    def try_list_checkout(self):
        os.listdir(CHECKOUT)

    def try_write_to_tmp(self):
        Path("/tmp/are-planted").write_text("")

    def try_home(self):
        import pwd

        os.listdir(pwd.getpwuid(os.getuid()).pw_dir)

    def try_kernel_setting(self):
        Path("/proc/sys/kernel/core_pattern").write_text("|/bin/false")

    def try_tcp(self):
        socket.create_connection(("127.0.0.1", self.port), 1).close()

    def try_listen(self):
        socket.create_server(("127.0.0.1", 0)).close()

    def try_udp(self):
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", self.port))

    def try_ipv6(self):
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)

    def try_netlink(self):
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)

    def try_unix_socket(self):
        socket.socket(socket.AF_UNIX).connect(self.unix_socket)

    def try_abstract_socket(self):
        socket.socket(socket.AF_UNIX).connect("\0" + self.abstract_socket)

    def try_datagram_pair(self):
        socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    def try_io_uring(self):
        call(libc.syscall, 425, 8, None)

    def try_bpf(self):
        call(libc.syscall, 321 if sys.maxsize and os.uname().machine == "x86_64" else 280, 0, None, 0)

    def try_user_namespace(self):
        call(libc.unshare, 0x10000000)

    def try_mount(self):
        call(libc.mount, b"tmpfs", bytes(self.writable), b"tmpfs", 0, None)

    def try_chroot(self):
        os.chroot(self.writable)

    def try_another_program(self):
        self._program("cat", str(self.secret))

    def try_another_program_in_a_new_session(self):
        self._program("setsid", "sh", "-c", 'cat "$0"', str(self.secret))

    def _program(self, *argv: str):
        done = subprocess.run(argv, capture_output=True, text=True)
        if "ermission denied" in done.stderr:
            raise PermissionError(done.stderr)
        assert done.returncode == 0, done.stderr

    def try_forked_child(self):
        if (child := os.fork()) == 0:
            try:
                open(self.secret).close()
            except PermissionError:
                os._exit(13)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 13:
            raise PermissionError("in the child")

    def try_thread(self):
        outcome = []

        def read():
            try:
                open(self.secret).close()
            except PermissionError as error:
                outcome.append(error)

        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
        if outcome:
            raise outcome[0]

    def need_handed_over_rows(self):
        with mmap.mmap(self.rows_fd, 0, prot=mmap.PROT_READ) as rows:
            assert rows[:] == b"rows"

    def need_programs(self):
        subprocess.run(["true"], check=True)

    def need_pipes_between_processes(self):
        ours, theirs = multiprocessing.get_context("fork").Pipe()
        ours.send("hello")
        assert theirs.recv() == "hello"

    def need_files_over_socketpair(self):
        ours, theirs = Channel.pair()
        ours.send({}, fds=[self.rows_fd])
        assert len(theirs.receive(1)[1]) == 1

    def need_listening_like_cuda(self):
        """The driver makes such a socket when it starts."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
            listening.bind(f"\0are-uvmfd-{os.getpid()}")
            listening.listen()

    def need_private_temporary_files(self):
        with tempfile.TemporaryFile() as file:
            file.write(b"x")

    def need_rename_in_own_folder(self):
        (self.writable / "a").write_text("")
        os.replace(self.writable / "a", self.writable / "b")

    def need_empty_shared_memory(self):
        assert "are-left-over" not in os.listdir("/dev/shm")
        Path("/dev/shm/are-planted").write_text("")

    def need_no_other_process_in_sight(self):
        if self.alone:
            seen = {int(name) for name in os.listdir("/proc") if name.isdigit()}
            assert seen <= {1, *range(os.getpid(), os.getpid() + 100)}, seen
            started_by = Path("/proc/1/cmdline").read_bytes()
            assert b"launcher.py" in started_by or b"shared.sandbox.nursery" in started_by

    def need_reading_without_a_trace(self):
        """The test looks at the access time afterwards."""
        (self.writable / "old").read_bytes()

    def need_harmless_chmod(self):
        """Reported as done; the test looks at the mode afterwards."""
        os.chmod(self.secret, 0)
        os.utime(self.secret, (1, 1))


def outcome_of(probe) -> str:
    try:
        probe()
    except PermissionError:
        return "refused"
    except (ProcessLookupError, FileNotFoundError):
        return "absent"
    except Exception as error:
        if getattr(error, "errno", None) == errno.EXDEV:  # Landlock's word for a move between folders with other rights
            return "refused"
        return f"{type(error).__name__}: {error}"
    return "worked"


def main() -> None:
    channel = Channel.from_fd(int(sys.argv[1]))
    orders, (rows_fd,) = channel.receive(10)
    reason = fence(orders) if orders["fenced"] else ""
    probes = Probes(orders, rows_fd)
    channel.send({"choice": reason, **{name: outcome_of(getattr(probes, name)) for name in orders["probes"]}})


def fence(orders: dict) -> str:
    secret = Path(orders["secret"])
    policy = recipe_policy(CHECKOUT, [Path(orders["writable"])], protected=[secret.parent])
    choice = apply(policy, alone=orders["alone"])
    verify(policy, [secret])
    return choice.reason


if __name__ == "__main__":
    main()
