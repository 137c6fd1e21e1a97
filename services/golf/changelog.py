"""CHANGELOG.md as entries: who drove each change, in tiers from fully human (6) to fully autonomous (0).

The format is in docs/autonomy-golf.md. Whatever cannot be read is a ValueError that names the line.
"""

import re
from dataclasses import dataclass, field
from datetime import date, datetime
from fractions import Fraction

TIERS = {
    "Fully human": 6,
    "Human-driven": 5,
    "Human-directed, AI-shaped": 4,
    "AI-identified within brief, human-shaped": 3,
    "AI-identified within brief, human-approved": 2,
    "Self-initiated, human-approved": 1,
    "Fully autonomous": 0,
}
GROUNDING = "Grounding"
LATEST, NEW_COMMIT = "Latest", "New commit"
NARRATIVE = ("Meaning:", "Motivation:", "Purpose:")
DETAIL_FROM_WEIGHT = 3
"""nested bullets count under tiers of at least this weight"""

DASH = " \u2014 "
SUBJECT = re.compile(r"(?P<subsystem>[a-z0-9][a-z0-9_./-]*): (?P<summary>\S.*)")
COMMIT = re.compile(r"`([0-9a-f]{7,40})`")
SCORE = re.compile(r"score `(\d\.\d\d)`")
COMPLEXITY = re.compile(r"complexity `(\d+)`")
TIER = re.compile(r"\*\*(?P<label>[^*]+?)(?: \((?P<weight>\d)\))?\*\*")


@dataclass
class Entry:
    line: int
    section: str
    day: date | None
    """None under Latest"""
    commit: str | None
    subsystem: str
    summary: str
    header_score: Fraction
    stated_complexity: int | None
    bullets: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TIERS, 0))
    """top-level bullets of each tier"""
    nested: int = 0
    """nested bullets that count"""
    grounding: list[str] = field(default_factory=list)

    @property
    def num_bullets(self) -> int:
        return sum(self.bullets.values())

    @property
    def points(self) -> int:
        return sum(TIERS[tier] * count for tier, count in self.bullets.items())

    @property
    def score(self) -> Fraction:
        """Mean weight of the bullets, to two decimals; a tie at the third is rounded up."""
        return to_cents(Fraction(self.points, self.num_bullets)) if self.num_bullets else Fraction(0)

    @property
    def complexity(self) -> int:
        return self.points + self.nested

    @property
    def header_complexity(self) -> int:
        """What a header without one means: the score as a whole number."""
        return round(self.header_score) if self.stated_complexity is None else self.stated_complexity


def to_cents(value: Fraction) -> Fraction:
    return Fraction(int(value * 100 + Fraction(1, 2)), 100)


def parse(text: str) -> list[Entry]:
    """All entries, in the order of the file. ValueError names the first line that cannot be read."""
    entries: list[Entry] = []
    section, tier = "", ""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("## "):
            section, tier = line[3:].strip(), ""
        elif line.startswith("### "):
            entries.append(read_header(line[4:].strip(), section, number))
            tier = ""
        elif entries and line.startswith("**"):
            tier = read_tier(line.strip(), number)
        elif entries and tier:
            read_bullet(entries[-1], tier, line, number)
    return entries


def read_header(header: str, section: str, number: int) -> Entry:
    parts = header.split(DASH)
    complexity = COMPLEXITY.fullmatch(parts[-1])
    if complexity:
        parts.pop()
    score = SCORE.fullmatch(parts.pop())
    if score is None or not parts:
        raise wrong(number, "the header has no score: write `subsystem: summary \u2014 score `4.00``")
    day = read_day(parts, section, number)
    commit = COMMIT.fullmatch(parts[0]) if len(parts) > 1 else None
    if commit:
        parts.pop(0)
    elif section != LATEST:
        raise wrong(number, f"only entries under ## {LATEST} may lack a commit")
    subject = SUBJECT.fullmatch(DASH.join(parts))
    if subject is None:
        raise wrong(number, "the header names no subsystem: write `subsystem: summary` with small letters")
    return Entry(
        line=number,
        section=section,
        day=day,
        commit=commit and commit[1],
        subsystem=subject["subsystem"],
        summary=subject["summary"],
        header_score=Fraction(score[1]),
        stated_complexity=int(complexity[1]) if complexity else None,
    )


def read_day(parts: list[str], section: str, number: int) -> date | None:
    """Taken off the front of `parts`. Under Latest there may be none, or the words New commit."""
    if parts[0] == NEW_COMMIT and section == LATEST:
        parts.pop(0)
        return None
    try:
        day = datetime.strptime(parts[0], "%B %d, %Y").date()
    except ValueError:
        if section == LATEST:
            return None
        raise wrong(number, f"the header starts with no date like November 2, 2026: {parts[0][:40]!r}") from None
    parts.pop(0)
    return day


def read_tier(line: str, number: int) -> str:
    """The label of a heading. ValueError for a label that is none, or a weight that is not the label's."""
    heading = TIER.fullmatch(line)
    label = heading["label"] if heading else ""
    if heading is None or label not in (*TIERS, GROUNDING):
        raise wrong(number, f"{line[:60]} is no tier: choose from {'; '.join(TIERS)}, or {GROUNDING}")
    if heading["weight"] is not None and int(heading["weight"]) != TIERS.get(label, -1):
        raise wrong(number, f"the weight of '{label}' is {TIERS.get(label, 'none')}, not {heading['weight']}")
    return label


def read_bullet(entry: Entry, tier: str, line: str, number: int) -> None:
    """Counts what is one. Lines that go on with the text of a bullet are nothing to count."""
    is_top, is_nested = line.startswith("- "), line.startswith("  - ")
    if tier == GROUNDING:
        read_grounding(entry, line)
    elif is_top:
        entry.bullets[tier] += 1
    elif is_nested and not entry.bullets[tier]:
        raise wrong(number, "a nested bullet stands before the first bullet of its tier")
    elif is_nested and TIERS[tier] >= DETAIL_FROM_WEIGHT and not line[4:].lstrip().startswith(NARRATIVE):
        entry.nested += 1


def read_grounding(entry: Entry, line: str) -> None:
    if line.startswith("- "):
        entry.grounding.append(line[2:].strip())
    elif entry.grounding and line.startswith("  "):
        entry.grounding[-1] += f" {line.strip()}"


def wrong(number: int, what: str) -> ValueError:
    return ValueError(f"CHANGELOG.md line {number}: {what}")
