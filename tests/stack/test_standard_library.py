"""compose/ runs on a host that has Python and Docker and no package: it is tried with all packages hidden."""

import subprocess
import sys

from shared.settings import CHECKOUT

ALONE = [sys.executable, "-I", "-S", "-c"]
"""without site-packages, the user's packages and PYTHONPATH"""
MODULES = sorted(path.stem for path in (CHECKOUT / "compose").glob("*.py"))
IMPORT_ALL = f"""
import sys
sys.path.insert(0, {str(CHECKOUT)!r})
for name in {MODULES!r}:
    __import__(f"compose.{{name}}")
ours = {{"compose", "services", "shared"}}
print(*sorted({{name.split(".")[0] for name in sys.modules}} - ours - sys.stdlib_module_names - {{"__main__"}}))
"""
HELP = f"""
import sys
sys.path.insert(0, {str(CHECKOUT)!r})
sys.argv = ["stack", "--help"]
from compose.stack import main
main()
"""


def alone(program: str) -> subprocess.CompletedProcess:
    return subprocess.run([*ALONE, program], capture_output=True, text=True, cwd="/")


def test_packages_are_hidden_from_it():
    assert "No module named 'pydantic'" in alone("import pydantic").stderr


def test_it_imports_the_standard_library_and_its_own_tables_alone():
    done = alone(IMPORT_ALL)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_it_starts():
    done = alone(HELP)
    assert done.returncode == 0, done.stderr
    assert "{up,check,down,logs,ps,doctor,rotate}" in done.stdout


def test_the_table_of_stages_is_read_the_same_way_by_an_image():
    done = alone(f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); from shared.stages.table import STAGES")
    assert done.returncode == 0, done.stderr
