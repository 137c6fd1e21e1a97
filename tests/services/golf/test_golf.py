"""Autonomy golf: the changelog of this project agrees with itself, and the command finds it when one does not."""

import csv
import io
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from fractions import Fraction

import pytest

from services.golf import __main__ as command
from services.golf.changelog import TIERS, parse
from services.golf.publish import BADGE, BEGIN, END, badge, refreshed, snapshot
from services.golf.rollup import roll_up
from services.golf.verify import absent_commits, faults
from services.golf.views import render
from shared.settings import CHECKOUT

ENTRY = """# Changelog

## November 24, 2026

### November 24, 2026 \u2014 `1e42337` \u2014 engines: title \u2014 dash \u2014 score `3.33` \u2014 complexity `11`

**Human-directed, AI-shaped (4)**

- one
  - Meaning: does not count
  - counts
- two, which goes on
  in a second line

**AI-identified within brief, human-approved**

- three
  - does not count under a tier of 2

**Grounding**

- tests
"""
OTHER = (
    ENTRY.replace("1e42337", "cbc2a22")
    .replace("engines:", "quality:")
    .split("## November 24, 2026\n", 1)[1]
    .replace("- three\n  - does not count under a tier of 2\n", "- three\n- four\n- five\n")
    .replace("`3.33`", "`2.80`")
    .replace("complexity `11`", "complexity `15`")
)


def changed(old: str, new: str) -> list[str]:
    assert old in ENTRY
    return faults(parse(ENTRY.replace(old, new)))


@pytest.fixture(scope="module")
def history():
    return parse((CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8"))


def test_every_header_of_this_project_agrees_with_its_bullets(history):
    assert len(history) > 30
    assert faults(history) == []


def test_every_commit_of_this_projects_changelog_is_in_its_history(history):
    assert absent_commits(history, CHECKOUT) == []


def test_a_commit_that_git_does_not_know_is_named(history):
    if not (CHECKOUT / ".git").exists():
        pytest.skip("this copy has no history")
    (fault,) = absent_commits(parse(ENTRY.replace("1e42337", "f" * 40)), CHECKOUT)
    assert "not in the history" in fault


def test_no_commit_is_told_in_two_entries(history):
    told = [line for entry in history for line in entry.grounding if line.startswith("commits: ")]
    hashes = [word.strip("`,") for line in told for word in line.split()[1:]]
    assert len(hashes) > 300
    assert len(set(hashes)) == len(hashes)


def test_the_readme_shows_the_changelog_as_it_is(history):
    (overall,) = roll_up(history, "overall")
    assert snapshot(overall) in (CHECKOUT / "README.md").read_text(encoding="utf-8")
    assert (CHECKOUT / BADGE).read_text() == badge(overall)


def test_score_is_the_mean_and_complexity_the_sum_with_nested_details():
    (entry,) = parse(ENTRY)
    assert (entry.points, entry.num_bullets, entry.nested) == (10, 3, 1)
    assert (entry.score, entry.complexity) == (Fraction(333, 100), 11)
    assert (entry.subsystem, entry.summary, entry.commit) == ("engines", "title \u2014 dash", "1e42337")
    assert faults([entry]) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("`3.33`", "`3.34`", "score 3.34, the bullets make 3.33"),
        ("complexity `11`", "complexity `12`", "complexity 12, the bullets make 11"),
        (" \u2014 complexity `11`", "", "complexity 3 (its score, as none is written), the bullets make 11"),
        ("- three\n", "- three\n- four\n", "score 3.33, the bullets make 3.00"),
        ("  - counts\n", "", "complexity 11, the bullets make 10"),
        ("**Grounding**\n\n- tests\n", "", "no Grounding"),
    ],
)
def test_a_header_that_disagrees_with_its_bullets_is_a_fault(old, new, said):
    assert any(said in fault for fault in changed(old, new))


def test_a_complexity_that_repeats_the_score_is_a_fault():
    single = ENTRY.split("  - Meaning")[0] + "\n**Grounding**\n\n- tests\n"
    assert faults(parse(single.replace("`3.33` \u2014 complexity `11`", "`4.00`"))) == []
    (fault,) = faults(parse(single.replace("`3.33` \u2014 complexity `11`", "`4.00` \u2014 complexity `4`")))
    assert "leaves it out" in fault


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("engines: title", "title", "names no subsystem"),
        ("engines: title", "Engines: a title", "names no subsystem"),
        ("score `3.33`", "score 3.33", "has no score"),
        ("`1e42337` \u2014 ", "", "may lack a commit"),
        ("### November 24", "### Novembre 24", "no date like"),
        ("shaped (4)", "shaped (3)", "weight of 'Human-directed, AI-shaped' is 4, not 3"),
        ("**Human-directed, AI-shaped (4)**", "**Mostly human**", "is no tier"),
        ("- one\n", "", "before the first bullet"),
    ],
)
def test_what_cannot_be_read_is_one_line_with_its_number(old, new, said):
    with pytest.raises(ValueError, match=r"CHANGELOG.md line \d+: ") as caught:
        changed(old, new)
    assert said in str(caught.value)


def test_only_entries_under_latest_may_lack_date_and_commit():
    latest = ENTRY.replace("## November 24, 2026\n", "## Latest\n", 1)
    latest = latest.replace("### November 24, 2026 \u2014 `1e42337` \u2014 ", "### New commit \u2014 ")
    (entry,) = parse(latest)
    assert (entry.day, entry.commit, faults([entry])) == (None, None, [])
    assert roll_up([entry], "day")[0]["date"] == "latest"


def test_rollups_add_up_whatever_they_are_by():
    entries = parse(ENTRY + OTHER)
    assert faults(entries) == []
    (overall,) = roll_up(entries, "overall")
    assert overall["mean_computed_score"] == 3.07  # (3.33 + 2.80) / 2 = 3.065, a tie is rounded up
    assert overall["mean_score_per_bullet"] == 3.0  # 24 points, 8 bullets
    assert (overall["commit_count"], overall["subsystem_count"], overall["score_delta"]) == (2, 2, 0)
    for by in ("entry", "day", "subsystem", "day-subsystem"):
        rows = roll_up(entries, by)
        assert sum(row["total_points"] for row in rows) == overall["total_points"] == 24
        assert sum(row["human_directed_ai_shaped_count"] for row in rows) == 4
    assert [row["subsystem"] for row in roll_up(entries, "subsystem")] == ["engines", "quality"]
    assert len(roll_up(entries, "day")) == 1


def test_rows_read_back_from_csv_and_json_are_the_same():
    rows = roll_up(parse(ENTRY + OTHER), "entry")
    assert json.loads(render(rows, "json")) == rows
    read = list(csv.DictReader(io.StringIO(render(rows, "csv"))))
    assert [{name: str(value) for name, value in row.items()} for row in rows] == read
    assert set(TIERS.values()) == set(range(7))
    assert render(rows, "table").splitlines()[1].endswith("title \u2014 dash")


def test_the_snapshot_is_replaced_and_nothing_else():
    (overall,) = roll_up(parse(ENTRY), "overall")
    readme = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    fresh = refreshed(readme, overall)
    assert fresh == f"before\n{snapshot(overall)}\nafter\n"
    assert refreshed(fresh, overall) == fresh
    with pytest.raises(ValueError, match="needs one place"):
        refreshed("no place\n", overall)


def test_the_badge_is_an_svg_that_says_the_score():
    (overall,) = roll_up(parse(ENTRY), "overall")
    root = ElementTree.fromstring(badge(overall))
    assert "3.33 of 6" in "".join(root.itertext())


def test_verify_ends_with_one_and_names_the_line(tmp_path, monkeypatch, capsys):
    path = tmp_path / "CHANGELOG.md"
    path.write_text(ENTRY.replace("`3.33`", "`1.00`"), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["golf", "--verify", "--changelog", str(path)])
    assert command.main() == 1
    assert "CHANGELOG.md line 5 (engines)" in capsys.readouterr().out


def test_a_changelog_that_cannot_be_read_is_one_line_and_code_two(tmp_path):
    path = tmp_path / "CHANGELOG.md"
    path.write_text("# Changelog\n", encoding="utf-8")
    argv = [sys.executable, "-m", "services.golf", "--changelog", str(path)]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "has no entry" in done.stderr
