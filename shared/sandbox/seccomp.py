"""A seccomp filter for what Landlock cannot deny: sockets that reach anything, looking into other processes,
namespaces and mounts, io_uring (which makes sockets without system calls), kernel interfaces, and what would be left
for a later process: System V and POSIX message queues, flags of files, knowledge of the page cache.

The numbers are from asm/unistd_64.h and asm-generic/unistd.h. What is allowed and counted is in file_names.py.
"""

import errno
import platform
import socket

from shared.sandbox import bpf

# name: (x86_64, aarch64); None where the architecture has no such call
_REFUSED = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "perf_event_open": (298, 241),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "acct": (163, 89),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "iopl": (172, None),
    "ioperm": (173, None),
    "syslog": (103, 116),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "truncate": (76, 45),
    "chown": (92, None),
    "lchown": (94, None),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "setxattrat": (463, 463),
    "removexattrat": (466, 466),
    # System V and POSIX message queues, semaphores and shared memory outlive a process
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "semop": (65, 193),
    "semctl": (66, 191),
    "semtimedop": (220, 192),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    # which pages of a file are in memory is a message that outlives whoever read them
    "mincore": (27, 232),
    "preadv2": (327, 286),
    "cachestat": (451, 451),
    # flags of a file, by its name
    "file_setattr": (469, 469),
}
# Landlock does not fence them, so a recipe could lock others out of files of the same user. Compilers and linkers
# call the first on their own output and stop when refused, so they report success and do nothing.
_IGNORED = {
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    # advice to drop pages of a library from memory would be the other half of that message
    "fadvise64": (221, 223),
}
_SOCKET, _SOCKETPAIR, _CONNECT = (41, 198), (53, 199), (42, 203)
_CLONE, _CLONE3, _PRLIMIT, _MADVISE = (56, 220), (435, 435), (302, 261), (28, 233)
_MADV_COLD, _MADV_PAGEOUT = 20, 21
_MADV_COLLAPSE = 25
"""Linux that is built for it makes one huge page of 512 pages of a library, which outlives the process"""
_IOCTL, _FCNTL = (16, 29), (72, 25)
# The owner of a file that is open for reading only may set its flags, generation number or project, and say how long
# its data will live: all of it outlives the process, most of it a restart, and library files have an owner.
_FILE_SYSTEM_IOCTLS = (ord("f"), ord("v"), ord("X"), 0x94, 0xF5)  # second byte of the command: ext4, btrfs, XFS, F2FS
_IOCTL_KIND = 0xFF00
_F_SET_RW_HINT, _F_SET_FILE_RW_HINT = 1036, 1038
# how processes are scheduled: no process that is not in sight through a namespace may be named but the caller
_SCHEDULING = {
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274),
}
# Which memory node a page of a library lies on is a message too. Drivers of GPUs may need to choose.
_MOVES = {"move_pages": (279, 239), "migrate_pages": (256, 238)}
_MBIND, _MPOL_MF_MOVE_OR_MOVE_ALL = (237, 235), 0b110
# Where the data of a file ends, and whether it has access lists: the kernel keeps the answer with the file, and gives
# it in half the time to whoever asks next. A bit a file, without a name.
_LSEEK, _SEEK_DATA, _SEEK_HOLE = (8, 62), 3, 4
_ATTRIBUTES = {"fgetxattr": (193, 10), "flistxattr": (196, 13)}
_SETAFFINITY, _SETPRIORITY, _IOPRIO_SET = (203, 122), (141, 140), (251, 30)
_PRIO_PROCESS, _IOPRIO_WHO_PROCESS = 0, 1

# Linux 6.18 ends here. A newer call may name files or make what nobody here has looked at, so there is none, as on an
# older kernel.
_FIRST_UNKNOWN = 470
_FLAG_TSYNC = 1
# new mount, cgroup, uts, ipc, user, pid and net namespaces
_CLONE_NEW = 0x00020000 | 0x7E000000
_SOCK_TYPE_MASK = 0xF


def restrict(*, alone: bool, gpu: bool) -> None:
    """Irrevocable, all threads, inherited. Needs PR_SET_NO_NEW_PRIVS.

    alone: no process of others can be named here, so what reaches others by their number is left allowed.
    gpu: pages may be moved between memory nodes.
    """
    bpf.install(program(platform.machine(), alone=alone, gpu=gpu), _FLAG_TSYNC)


def program(machine: str, *, alone: bool = False, gpu: bool = True) -> list[bytes]:
    """The filter as BPF instructions of 8 bytes."""
    column = bpf.COLUMN[machine]
    code = bpf.begin(machine)
    code += [bpf.jump(bpf.AT_LEAST, _FIRST_UNKNOWN, 0, 1), bpf.refuse(errno.ENOSYS)]
    for numbers in _REFUSED.values():
        code += bpf.return_if_equal(numbers[column], errno.EPERM)
    for numbers in _IGNORED.values():
        code += bpf.return_if_equal(numbers[column], 0)
    code += bpf.return_if_equal(_CONNECT[column], errno.EACCES)
    # glibc falls back to clone, whose flags are not behind a pointer
    code += bpf.return_if_equal(_CLONE3[column], errno.ENOSYS)
    code += bpf.for_call(
        _CLONE[column], [bpf.argument(0), bpf.jump(bpf.ANY_BIT, _CLONE_NEW, 0, 1), bpf.refuse(errno.EPERM)]
    )
    # limits of other processes of the same user, the supervisor's for one
    code += bpf.for_call(_PRLIMIT[column], [bpf.argument(0), *bpf.return_unless_equal(0, errno.EPERM)])
    # pages of a library that this process has mapped, as with fadvise64
    code += bpf.for_call(
        _MADVISE[column],
        [
            bpf.argument(2),
            *bpf.return_if_equal(_MADV_COLD, 0),
            *bpf.return_if_equal(_MADV_PAGEOUT, 0),
            *bpf.return_if_equal(_MADV_COLLAPSE, errno.EINVAL),
        ],
    )
    code += _no_words_beside_files(column)
    code += _no_questions_about_files(column)
    if not alone:
        code += _only_own_scheduling(column)
    if not gpu:
        code += _no_moved_pages(column)
    for call in (_SOCKET, _SOCKETPAIR):
        code += bpf.for_call(call[column], _only_unix_connections())
    return [*code, bpf.instruction(bpf.RETURN, bpf.ALLOW)]


def _no_words_beside_files(column: int) -> list[bytes]:
    """As on a file system that knows no such thing, which every program is prepared for."""
    code = [bpf.argument(1), bpf.instruction(bpf.AND, _IOCTL_KIND)]
    for kind in _FILE_SYSTEM_IOCTLS:
        code += bpf.return_if_equal(kind << 8, errno.ENOTTY)
    hints = [bpf.argument(1)]
    for command in (_F_SET_RW_HINT, _F_SET_FILE_RW_HINT):
        hints += bpf.return_if_equal(command, errno.EINVAL)
    return [*bpf.for_call(_IOCTL[column], code), *bpf.for_call(_FCNTL[column], hints)]


def _no_questions_about_files(column: int) -> list[bytes]:
    """As on a file system that knows neither holes nor attributes. Attributes by name are counted (file_names.py)."""
    code = []
    for call in _ATTRIBUTES.values():
        code += bpf.return_if_equal(call[column], errno.EOPNOTSUPP)
    seeking = [bpf.argument(2)]
    for whence in (_SEEK_DATA, _SEEK_HOLE):
        seeking += bpf.return_if_equal(whence, errno.EINVAL)
    return code + bpf.for_call(_LSEEK[column], seeking)


def _no_moved_pages(column: int) -> list[bytes]:
    code = []
    for call in _MOVES.values():
        code += bpf.return_if_equal(call[column], errno.EPERM)
    moving = [bpf.argument(5), bpf.jump(bpf.ANY_BIT, _MPOL_MF_MOVE_OR_MOVE_ALL, 0, 1), bpf.refuse(errno.EPERM)]
    return code + bpf.for_call(_MBIND[column], moving)


def _only_own_scheduling(column: int) -> list[bytes]:
    """Other processes of the same user, the supervisor for one, could be slowed for good.

    A thread is pinned by its number too, so pinning another one reports success and does nothing.
    """
    code = []
    for call in _SCHEDULING.values():
        code += bpf.for_call(call[column], [bpf.argument(0), *bpf.return_unless_equal(0, errno.EPERM)])
    code += bpf.for_call(_SETAFFINITY[column], [bpf.argument(0), *bpf.return_unless_equal(0, 0)])
    for call, kind in ((_SETPRIORITY, _PRIO_PROCESS), (_IOPRIO_SET, _IOPRIO_WHO_PROCESS)):
        own = [bpf.argument(0), *bpf.return_unless_equal(kind, errno.EPERM), bpf.argument(1)]
        code += bpf.for_call(call[column], [*own, *bpf.return_unless_equal(0, errno.EPERM)])
    return code


def _only_unix_connections() -> list[bytes]:
    """Sockets that reach nothing without connect: pipes between own processes, and what CUDA's driver listens on.

    A datagram socket could address any Unix socket on the machine with sendmsg.
    """
    return [
        bpf.argument(0),
        *bpf.return_unless_equal(socket.AF_UNIX, errno.EACCES),
        bpf.argument(1),
        bpf.instruction(bpf.AND, _SOCK_TYPE_MASK),
        bpf.jump(bpf.EQUAL, socket.SOCK_SEQPACKET, 2, 0),
        *bpf.return_unless_equal(socket.SOCK_STREAM, errno.EACCES),
    ]
