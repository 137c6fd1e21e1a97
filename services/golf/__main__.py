"""Autonomy golf: `python -m services.golf [--by day] [--format csv] [--verify] [--refresh]` (`autoresearch golf`).

Exit code 1 when --verify finds a fault, 2 when CHANGELOG.md cannot be read.
"""

import argparse
import sys
from pathlib import Path

from services.golf.changelog import Entry, parse
from services.golf.publish import BADGE, badge, refreshed
from services.golf.rollup import GROUPINGS, roll_up
from services.golf.verify import absent_commits, faults
from services.golf.views import FORMATS, render
from shared.files import write_atomic
from shared.settings import CHECKOUT


def main() -> int:
    asked = parse_arguments()
    try:
        entries = read_entries(asked.changelog)
        if asked.verify:
            return tell(faults(entries) + absent_commits(entries, asked.changelog.parent), len(entries))
        if asked.refresh:
            return refresh(entries, asked.changelog.parent)
        print(render(roll_up(entries, asked.by), asked.format))
    except (ValueError, OSError) as error:
        print(f"autoresearch: {error}", file=sys.stderr)
        return 2
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m services.golf", description="Who drove the changes, in numbers.")
    parser.add_argument("--by", choices=GROUPINGS, default="overall", help="what a row is")
    parser.add_argument("--format", choices=FORMATS, default="table", help="table for people, csv or json for programs")
    parser.add_argument("--verify", action="store_true", help="check headers against bullets, commits against git")
    parser.add_argument("--refresh", action="store_true", help="write the badge and the README's snapshot")
    parser.add_argument("--changelog", type=Path, default=CHECKOUT / "CHANGELOG.md", help="the file to read")
    return parser.parse_args()


def read_entries(path: Path) -> list[Entry]:
    entries = parse(path.read_text(encoding="utf-8"))
    if not entries:
        raise ValueError(f"{path} has no entry: an entry starts with ### (docs/autonomy-golf.md)")
    return entries


def tell(found: list[str], num_entries: int) -> int:
    print(*(found or [f"{num_entries} entries: every header agrees with its bullets"]), sep="\n")
    return int(bool(found))


def refresh(entries: list[Entry], checkout: Path) -> int:
    """ValueError, before anything is written, when headers disagree or the README has no place for the snapshot."""
    if found := faults(entries):
        raise ValueError(f"{found[0]} ({len(found)} faults in all: run golf --verify)")
    (overall,) = roll_up(entries, "overall")
    readme = checkout / "README.md"
    text = refreshed(readme.read_text(encoding="utf-8"), overall)
    (checkout / BADGE).parent.mkdir(parents=True, exist_ok=True)
    write_atomic(checkout / BADGE, badge(overall))
    write_atomic(readme, text)
    print(f"wrote {BADGE} and the snapshot in README.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
