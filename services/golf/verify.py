"""Whether the headers of a changelog say what its bullets say, and whether its commits are in the history."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

from services.golf.changelog import Entry


def faults(entries: Iterable[Entry]) -> list[str]:
    """A line for every header that disagrees with its bullets, and for every entry without bullets or grounding."""
    return [fault for entry in entries for fault in faults_of(entry)]


def faults_of(entry: Entry) -> list[str]:
    where = f"CHANGELOG.md line {entry.line} ({entry.subsystem})"
    found = []
    if not entry.num_bullets:
        found.append(f"{where}: no bullet stands under a tier, so there is nothing to score")
    if not entry.grounding:
        found.append(f"{where}: no Grounding: say which files changed, what was checked and measured")
    if entry.header_score != entry.score:
        found.append(
            f"{where}: the header says score {float(entry.header_score):.2f}, the bullets make {float(entry.score):.2f}"
        )
    if entry.header_complexity != entry.complexity:
        found.append(
            f"{where}: the header says complexity {entry.header_complexity}"
            f"{' (its score, as none is written)' if entry.stated_complexity is None else ''}, "
            f"the bullets make {entry.complexity}"
        )
    elif entry.stated_complexity is not None and entry.complexity == entry.score:
        found.append(f"{where}: complexity equals the score, so the header leaves it out")
    return found


def absent_commits(entries: Iterable[Entry], checkout: Path) -> list[str]:
    """A line for every commit that git does not know; nothing where there is no history, as in a shallow clone."""
    named = [entry for entry in entries if entry.commit]
    if not _has_history(checkout):
        return []
    asked = "".join(f"{entry.commit}^{{commit}}\n" for entry in named)
    answers = _git(checkout, "cat-file", "--batch-check", asked=asked).splitlines()
    return [
        f"CHANGELOG.md line {entry.line} ({entry.subsystem}): commit {entry.commit} is not in the history"
        for entry, answer in zip(named, answers, strict=True)
        if answer.split()[1:2] != ["commit"]
    ]


def _has_history(checkout: Path) -> bool:
    return _git(checkout, "rev-parse", "--is-shallow-repository").strip() == "false"


def _git(checkout: Path, *arguments: str, asked: str = "") -> str:
    """Standard output; empty when git is not there or refuses."""
    try:
        done = subprocess.run(["git", "-C", str(checkout), *arguments], input=asked, capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return done.stdout if done.returncode == 0 else ""
