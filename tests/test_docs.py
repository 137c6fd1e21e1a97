"""What the docs tell people to type is there: commands, options, make targets, environment variables, files."""

import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

from shared.contracts import Rung, Shape, Status
from shared.experiment.presets import PRESETS
from shared.runs.directory import RunDirectory
from shared.settings import CHECKOUT, Settings
from tests.makefile import make_targets

PAGES = [page for page in (*sorted(CHECKOUT.glob("*.md")), *sorted((CHECKOUT / "docs").rglob("*.md")))]
TEXT = {page.relative_to(CHECKOUT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
ALL = "\n".join(TEXT.values())
page = pytest.mark.parametrize("name", TEXT)


def code(text: str) -> list[str]:
    """Lines of code blocks, fenced or indented, and what stands between backticks."""
    fenced = re.findall(r"^```.*?\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    blocks = [line for block in fenced for line in block.splitlines()]
    return [*blocks, *re.findall(r"^ {4}(.+)$", text, flags=re.MULTILINE), *re.findall(r"`([^`\n]+)`", text)]


@cache
def commands() -> dict[str, str]:
    """Every subcommand with its own help."""
    source = "import sys, typer\nfrom services.console.main import application\n"
    source += "for name, command in typer.main.get_command(application()).commands.items():\n"
    source += "    parts = [command, *getattr(command, 'commands', {}).values()]\n"
    source += "    options = [option for part in parts for parameter in part.params for option in parameter.opts]\n"
    source += "    print(name, *options)"
    argv = [sys.executable, "-c", source]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    return {line.split()[0]: line for line in done.stdout.splitlines()}


@page
def test_every_command_and_option_exists(name):
    missing = []
    for line in code(TEXT[name]):
        for words in re.findall(r"(?:^|[ /;&(])autoresearch ([a-z].*)", line):
            command, *rest = words.split("#")[0].split()
            options = [word.split("=")[0] for word in rest if word.startswith("--")]
            known = [*commands().get(command, "").split(), "--help"]
            missing += [f"autoresearch {command} {word}" for word in ("", *options) if word not in ("", *known)]
            missing += [] if command in commands() else [f"autoresearch {command}"]
    assert missing == []


@page
def test_every_make_target_exists(name):
    named = {target for line in code(TEXT[name]) for target in re.findall(r"(?:^|[ ;&])make ([a-z][a-z0-9-]*)", line)}
    assert named <= make_targets()


def test_every_environment_variable_is_explained_and_no_other_is():
    ours = {f"ARE_{name.upper()}" for name in Settings.model_fields}
    named = set(re.findall(r"ARE_[A-Z_]+[A-Z]", ALL))
    assert named == ours


@page
def test_every_linked_file_exists(name):
    here = (CHECKOUT / name).parent
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", TEXT[name]) if "://" not in link]
    assert [link for link in links if link and not (here / link).exists()] == []


PLACES = ("services", "shared", "kernels", "tests", "docs", "benchmarks")


@page
def test_every_named_path_exists(name):
    """`shared/evaluation/rungs.py`, `docs/data.md`, ...: with a suffix, and no placeholder in it."""
    paths = [word for span in code(TEXT[name]) for word in re.findall(r"[\w./-]+\.(?:py|md|toml|txt)\b", span)]
    named = {path for path in paths if path.startswith(tuple(f"{place}/" for place in PLACES))}
    assert {path for path in named if not (CHECKOUT / path).exists()} == set()


@page
def test_every_module_that_is_run_exists(name):
    modules = set(re.findall(r"python3? -m ((?:services|shared|benchmarks)\.[\w.]*\w)", TEXT[name]))
    paths = {module: CHECKOUT / module.replace(".", "/") for module in modules}
    assert [
        m for m, path in paths.items() if not (path / "__main__.py").exists() and not path.with_suffix(".py").exists()
    ] == []


@page
def test_presets_and_keys_of_set_exist(name):
    commands_ = [line for line in code(TEXT[name]) if "autoresearch" in line]
    presets = {preset for line in commands_ for preset in re.findall(r"--preset[= ]([a-z0-9-]+)", line)}
    keys = {key for line in commands_ for key in re.findall(r"--set ([a-z_]+)=", line)}
    assert presets <= set(PRESETS)
    assert keys <= {*Shape.model_fields, "dtype", "compile", "eval_batch_size"}


def test_every_file_of_a_run_directory_is_in_its_table():
    import shared.runs.directory

    table = shared.runs.directory.__doc__
    names = [
        getattr(RunDirectory(Path("run")), name).name for name in dir(RunDirectory) if name.endswith(("_file", "_dir"))
    ]
    assert [name for name in names if name not in table] == []


def test_pages_are_plain_and_name_no_place_of_one_machine():
    assert [name for name, text in TEXT.items() if "/root/" in text or re.search(r"/home/[a-z]", text)] == []


def test_every_status_and_rung_is_in_the_glossary():
    words = set(re.findall(r"[a-z_]+", TEXT["docs/glossary.md"]))
    assert {*map(str, Status), *map(str, Rung)} - words == set()


def test_every_tier_of_tests_is_explained_to_contributors():
    settings = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    explained = {word for span in code(TEXT["CONTRIBUTING.md"]) for word in re.findall(r"[a-z]+", span)}
    assert {marker.split(":")[0] for marker in settings["markers"]} - explained == set()


def test_the_workflow_does_what_a_clean_machine_does():
    steps = "\n".join(path.read_text() for path in (CHECKOUT / ".github" / "workflows").glob("*.yml"))
    assert re.search(r"run: .*\.ci/run$", steps, flags=re.MULTILINE)
    assert (CHECKOUT / ".ci" / "run").stat().st_mode & 0o111


RENAMED = ("ticket", "placer", "taker", "take_back", "half_recorded", "shared.stages.spool")


@page
def test_words_that_were_renamed_are_gone(name):
    """docs/glossary.md has the words that took their place."""
    words = set(re.findall(r"[\w.]+", TEXT[name].lower()))
    assert words & {*RENAMED, *(f"{word}s" for word in RENAMED)} == set()
