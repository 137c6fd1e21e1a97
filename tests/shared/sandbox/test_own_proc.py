"""What a process on the CPU may read of /proc: of itself what it needs, and nothing of how the kernel ranks pages."""

from tests.shared.sandbox.test_sandbox import needs_fence, run_fenced

RANKS_OF_PAGES = ["self/numa_maps", "self/smaps", "self/smaps_rollup", "self/pagemap", "thread-self/numa_maps"]
RANKS_OF_PAGES += ["vmstat", "zoneinfo", "kpageflags", "kpagecount"]


@needs_fence
def test_nothing_on_the_cpu_tells_how_the_kernel_ranks_pages_of_memory(tmp_path):
    """Nor in a child."""
    code = (
        "import subprocess\n"
        "def refused(path):\n"
        "    try:\n"
        "        open('/proc/' + path, 'rb').close()\n"
        "    except (PermissionError, FileNotFoundError):\n"
        "        return True\n"
        "refused_here = {path: refused(path) for path in PATHS}\n"
        "child = subprocess.run(['cat', '/proc/self/numa_maps'], capture_output=True)\n"
        "print(all(refused_here.values()), child.returncode, refused_here)\n"
    )
    done = run_fenced(code.replace("PATHS", repr(RANKS_OF_PAGES)), tmp_path, gpu=False)
    assert done.stdout.startswith("True 1 "), done.stdout + done.stderr


@needs_fence
def test_what_a_process_needs_to_know_of_itself_is_there_on_the_cpu(tmp_path):
    code = (
        "from shared.engines.host_memory import peak_rss_bytes\n"
        "names = ['self/' + name for name in ('status', 'maps', 'stat', 'cgroup')] + ['cpuinfo', 'meminfo', 'stat']\n"
        "print([bool(open('/proc/' + name).read()) for name in names], peak_rss_bytes() > 0)\n"
        "os.listdir('/proc/self/fd')"
    )
    done = run_fenced(code, tmp_path, gpu=False)
    assert "False" not in done.stdout, done.stdout
    assert done.returncode == 0, done.stderr
