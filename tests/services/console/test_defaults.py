"""`autoresearch defaults`: what is in the cache, what it is worth, and what comes in from other machines."""

import json
import sys
from datetime import UTC, datetime, timedelta

import pytest

from services.console import main as console
from shared.calibration.promotion import promoted_rows
from shared.experiment.platform_default import PlatformDefault, default_file, write_default
from shared.experiment.presets import find_preset
from shared.machine.hardware import detect
from shared.quality import QualityRow, write_rows
from shared.settings import settings
from tests.platform_defaults import calibrated, on_a_cpu, unmeasured

ELSEWHERE = "nvidia-blackwell-gb10-120gb"


@pytest.fixture
def autoresearch(tmp_path, monkeypatch, capfd):
    """Runs the command in this process with an empty home. Gives its exit code, stdout and stderr."""
    on_a_cpu(monkeypatch)
    monkeypatch.setenv("ARE_HOME", str(tmp_path / "home"))
    settings.cache_clear()

    def call(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["autoresearch", "defaults", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            console.main()
        return caught.value.code or 0, *capfd.readouterr()

    yield call
    settings.cache_clear()


def make_default(**changes) -> PlatformDefault:
    own = {"family": "m5-small", "shape": find_preset("m5-small").shape, "val_bpb": 1.44, "framework": ""}
    return calibrated(**own | changes)


def make_bundle(folder, default, num_rows=2):
    folder.mkdir()
    (folder / "platform_default.json").write_text(default.model_dump_json())
    rows = [
        QualityRow(source=f"cal-1-{number}", dataset="d" * 64, shape=default.shape, num_tokens=10**6, val_bpb=1.5)
        for number in range(num_rows)
    ]
    write_rows(folder / "quality-rows.json", rows)
    return folder


def the_line(error: str) -> str:
    assert error.count("\n") == 1, error
    assert error.startswith("autoresearch: ")
    return error


def test_an_empty_cache_says_how_to_fill_it(autoresearch):
    assert autoresearch("list") == (0, "no defaults yet: autoresearch calibrate finds this machine's\n", "")
    code, out, error = autoresearch("show")
    assert (code, out) == (2, "")
    assert "autoresearch calibrate finds it" in the_line(error)


STANDINGS = {
    "valid": {},
    "aging": {"made_at": datetime.now(UTC) - timedelta(days=40)},
    "stale": {"made_at": datetime.now(UTC) - timedelta(days=100)},
    "stale, the shipped recipe": {"recipe_sha": "0" * 64},
    "stale, the driver": {"driver_version": "Linux 1"},
    "stale, torch 0.1 ->": {"framework": "torch 0.1"},
}


@pytest.mark.parametrize("expected", STANDINGS)
def test_the_list_says_what_each_default_is_worth_and_why(autoresearch, expected):
    write_default(make_default(**STANDINGS[expected]))
    code, out, _ = autoresearch("list", "--json")
    (found,) = json.loads(out)
    standing, *why = expected.split(", ")
    assert (code, found["standing"], found["is_here"]) == (0, standing, True)
    assert all(word in found["why"] for word in why)
    assert standing in autoresearch("list")[1]


def test_driver_and_framework_of_another_machine_are_not_compared_with_this_ones(autoresearch):
    write_default(make_default(hardware_key=ELSEWHERE, driver_version="580", framework="torch 0.1", device="cuda:0"))
    (found,) = json.loads(autoresearch("list", "--json")[1])
    assert (found["standing"], found["is_here"]) == ("valid", False)


def test_a_damaged_default_is_named_and_hides_no_other(autoresearch):
    write_default(make_default())
    damaged = default_file(ELSEWHERE, "torch")
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    code, out, error = autoresearch("list", "--json")
    assert (code, len(json.loads(out))) == (0, 1)
    assert f"{damaged} is damaged" in the_line(error)


def test_show_without_a_name_is_this_machines_default(autoresearch):
    default = make_default()
    write_default(default)
    shown = json.loads(autoresearch("show", "--json")[1])
    assert PlatformDefault.model_validate(shown["default"]) == default
    assert "measured" in autoresearch("show", default.hardware_key)[1]


def test_two_engines_of_one_machine_are_told_apart(autoresearch):
    write_default(make_default())
    write_default(make_default(engine="mlx", family="m5-tiny"))
    key = detect("cpu").hardware_key
    assert f"say {key}/torch or {key}/mlx" in the_line(autoresearch("show", key)[2])
    assert json.loads(autoresearch("show", f"{key}/mlx", "--json")[1])["family"] == "m5-tiny"
    assert "unknown engine" in the_line(autoresearch("show", f"{key}/jax")[2])


def test_diff_takes_a_hardware_key_a_file_a_bundle_and_a_preset(autoresearch, tmp_path):
    default = make_default()
    written = write_default(default)
    bundle = make_bundle(tmp_path / "promotion", make_default(hardware_key=ELSEWHERE, val_bpb=1.16))
    for first in (default.hardware_key, written):
        found = json.loads(autoresearch("diff", first, bundle, "--json")[1])
        assert set(found["different"]) >= {"hardware_key", "val_bpb"}
        assert (found["first"]["val_bpb"], found["second"]["val_bpb"]) == (1.44, 1.16)
    found = json.loads(autoresearch("diff", written, "m5-tiny", "--json")[1])
    assert set(found["different"]) == {"family", "seq_len", "depth", "d_model", "heads"}
    assert "differs" in autoresearch("diff", written, "m5-tiny")[1]
    assert json.loads(autoresearch("diff", written, "m5-small", "--json")[1])["different"] == []


def test_promoting_a_bundle_brings_its_default_and_its_rows(autoresearch, tmp_path):
    default = make_default(hardware_key=ELSEWHERE, device="cuda:0")
    bundle = make_bundle(tmp_path / "promotion", default)
    code, out, error = autoresearch("promote", bundle)
    assert (code, error) == (0, "")
    assert "2 new quality rows" in out
    assert "it is of another machine" in out
    assert PlatformDefault.model_validate_json(default_file(ELSEWHERE, "torch").read_bytes()) == default
    assert [row.source for row in promoted_rows()] == ["cal-1-0", "cal-1-1"]
    again = json.loads(autoresearch("promote", bundle, "--json")[1])
    assert (again["new_rows"], again["replaced"] is not None) == (0, True)


def test_promoting_a_file_of_this_machine_brings_the_default_alone(autoresearch, tmp_path):
    (tmp_path / "default.json").write_text(make_default().model_dump_json())
    code, out, _ = autoresearch("promote", tmp_path / "default.json")
    assert code == 0
    assert "another machine" not in out
    assert promoted_rows() == ()


def test_a_default_of_which_nothing_was_measured_is_listed_as_that_and_not_promoted(autoresearch, tmp_path):
    write_default(unmeasured())
    (found,) = json.loads(autoresearch("list", "--json")[1])
    assert (found["standing"], found["confidence"], found["expects"]) == ("unmeasured", "none", "not known")
    assert "find out what is wrong" in autoresearch("show")[1]
    better = write_default(make_default())
    code, out, error = autoresearch("promote", make_bundle(tmp_path / "promotion", unmeasured()))
    assert (code, out) == (2, "")
    assert "nothing of this default was measured on" in the_line(error)
    assert "autoresearch calibrate" in error
    assert PlatformDefault.model_validate_json(better.read_bytes()).is_measured
    assert promoted_rows() == ()


def test_a_row_that_cannot_be_read_is_named_and_left_out(autoresearch, tmp_path):
    bundle = make_bundle(tmp_path / "promotion", make_default())
    rows = json.loads((bundle / "quality-rows.json").read_bytes())
    rows[0]["val_bpb"] = -1
    (bundle / "quality-rows.json").write_text(json.dumps(rows))
    code, out, error = autoresearch("promote", bundle)
    assert (code, "1 new quality rows" in out) == (0, True)
    assert "row 1 left out, val_bpb" in the_line(error)


BAD = {
    "nothing there": (None, "does not exist"),
    "no JSON": ("{", "is damaged"),
    "another version": ('{"schema_version": 2}', "has schema version 2, this program reads 1"),
    "something else": ('{"hello": 1}', "is no platform default"),
    "a list": ("[]", "is no platform default"),
    "a path as a key": ('{"hardware_key": "../../x"}', "is no platform default (hardware_key"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("as_bundle", [True, False])
def test_what_is_no_default_is_refused_in_one_line_and_changes_nothing(autoresearch, tmp_path, name, as_bundle):
    content, message = BAD[name]
    folder = tmp_path / "promotion"
    folder.mkdir()
    if content is not None:
        (folder / "platform_default.json").write_text(content)
    code, out, error = autoresearch("promote", folder if as_bundle else folder / "platform_default.json")
    assert (code, out) == (2, "")
    assert message in the_line(error)
    assert not (tmp_path / "home" / "platform").exists()


def test_a_damaged_default_is_replaced_by_a_promoted_one(autoresearch, tmp_path):
    default = make_default()
    write_default(default).write_text("{")
    code, out, _ = autoresearch("promote", make_bundle(tmp_path / "promotion", default))
    assert (code, "damaged" in out) == (0, True)
    assert autoresearch("show")[0] == 0
