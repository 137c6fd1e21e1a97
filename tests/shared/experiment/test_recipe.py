"""Loading recipes: everything wrong with one becomes one line that its author understands."""

import base64
import os

import numpy as np
import pytest

from shared.contracts import LARGEST_RECIPE_BYTES
from shared.experiment.recipe import blaming, check_protocol, check_source, describe_error, load_recipe
from shared.runs.directory import RunDirectory
from shared.runs.recipe_file import MOST_COMPRESSED_BYTES, InvalidRecipe
from tests.shared.tracking.finished_runs import RECIPE, make_job

BUILD = b"def build(shape, vocab_size, seed, device):\n    return None\n"


@pytest.fixture
def recipe_file(tmp_path):
    return tmp_path / "recipe.py"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"def build(:\n", "line 1"),
        (b"x = 1\n", r"no function build\(shape, vocab_size, seed, device\)"),
        (b"", "no function build"),
        (b"\x00", "null byte"),
        (b"x = '\xff'\n" + BUILD, "does not parse"),
        (b"x = " + b"(" * 5000 + b")" * 5000 + b"\n" + BUILD, "does not parse"),
        (b"if True:\n  def build(): pass\n", "no function build"),
    ],
)
def test_a_source_that_cannot_be_one_is_refused_without_running_it(source, message):
    with pytest.raises(InvalidRecipe, match=message) as caught:
        check_source(source, "recipe.py")
    assert "\n" not in str(caught.value)


def test_a_source_is_not_run_by_looking_at_it():
    check_source(b"1 / 0\n" + BUILD, "recipe.py")


def test_a_recipe_is_imported_as_module_recipe(recipe_file):
    recipe_file.write_bytes(b"answer = __name__\n" + BUILD)
    assert load_recipe(recipe_file).answer == "recipe"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"import nothing_of_that_name", r"ModuleNotFoundError: .*nothing_of_that_name.* \(recipe.py line 1\)"),
        (b"raise SystemExit(3)", "SystemExit: 3"),
        (b"raise ValueError('two\\nlines')", "ValueError: two lines"),
        (b"def f(): f()\nf()", "RecursionError"),
    ],
)
def test_an_import_that_fails_says_where(recipe_file, line, message, capsys):
    recipe_file.write_bytes(line + b"\n" + BUILD)
    with pytest.raises(InvalidRecipe, match=message) as caught:
        load_recipe(recipe_file)
    assert "\n" not in str(caught.value)
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_is_not_blamed_on_the_recipe():
    with pytest.raises(KeyboardInterrupt), blaming("step() failed"):
        raise KeyboardInterrupt


def test_running_out_of_memory_is_not_an_invalid_recipe():
    with pytest.raises(MemoryError), blaming("step() failed", unless=lambda error: isinstance(error, MemoryError)):
        raise MemoryError


def test_what_is_already_one_line_passes_as_it_is():
    with pytest.raises(InvalidRecipe, match=r"^plain$"), blaming("step() failed"):
        raise InvalidRecipe("plain")


def test_an_object_without_the_protocols_methods_lists_them():
    class Half:
        step = None

        def logits(self, tokens): ...

    with pytest.raises(InvalidRecipe, match=r"without step, state, load\(\)"):
        check_protocol(Half())


def test_a_long_message_is_cut():
    assert len(describe_error(ValueError("x" * 10_000))) < 600


def test_a_recipe_is_no_larger_than_a_recipe_may_be_whatever_the_door(tmp_path):
    large = BUILD + b"#" * (LARGEST_RECIPE_BYTES - len(BUILD))
    check_source(large, "recipe.py")
    (tmp_path / "recipe.py").write_bytes(large + b"#")
    for door in (
        lambda: check_source(large + b"#", "recipe.py"),
        lambda: load_recipe(tmp_path / "recipe.py"),
        lambda: RunDirectory(tmp_path / "run").create(make_job(), large + b"#"),
    ):
        with pytest.raises(InvalidRecipe, match="a recipe may have 256 KiB"):
            door()
    assert not (tmp_path / "run").exists()


def test_a_recipe_holds_no_data_whatever_the_door(tmp_path):
    """Text of random digits, which no compression makes shorter than what it says."""
    data = base64.b85encode(np.random.default_rng(0).bytes(MOST_COMPRESSED_BYTES - 2000))
    check_source(BUILD + b"DATA = " + repr(data).encode() + b"\n" + b"# a comment\n" * 5000, "recipe.py")
    large = BUILD + b"DATA = " + repr(data + data[::-1][:3000]).encode()
    for door in (
        lambda: check_source(large, "recipe.py"),
        lambda: RunDirectory(tmp_path / "run").create(make_job(), large),
    ):
        with pytest.raises(InvalidRecipe, match="KiB compressed, a recipe may have 32 KiB"):
            door()
    assert not (tmp_path / "run").exists()


def test_a_recipe_that_grew_in_its_run_directory_is_not_read_to_its_end(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    directory.create(make_job(), RECIPE)
    os.truncate(directory.recipe_file, 10**12)
    with pytest.raises(ValueError, match="a recipe may have 256 KiB"):
        directory.verified_recipe()


def test_the_line_that_is_named_is_the_recipes_and_never_ours(tmp_path):
    with pytest.raises(InvalidRecipe) as raised:
        check_source(b"x = 1\n", "recipe.py")
    assert "line" not in describe_error(raised.value)
    recipe_file = tmp_path / "recipe.py"
    recipe_file.write_bytes(b"\n\nraise KeyError('mine')\n" + BUILD)
    with pytest.raises(InvalidRecipe, match=r"KeyError: 'mine' \(recipe.py line 3\)"):
        load_recipe(recipe_file)
