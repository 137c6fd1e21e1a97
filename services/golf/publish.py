"""What a project shows of its game: an SVG badge, and a block of the README between two comments."""

import re
from pathlib import Path
from xml.sax.saxutils import escape

from services.golf.rollup import Row

BEGIN, END = "<!-- autonomy-golf:begin -->", "<!-- autonomy-golf:end -->"
BADGE = Path("docs/images/autonomy-golf.svg")
LABEL = "autonomy golf"
HEIGHT, PER_CHARACTER, PADDING = 20, 6.6, 12
COLOURS = ((1.0, "#2e7d32"), (2.0, "#558b2f"), (3.0, "#8a7a12"), (4.0, "#b36b00"), (6.0, "#b23c17"))
"""up to this mean score, this colour: lower is more autonomous"""


def badge(overall: Row) -> str:
    """The mean score of all commits, as text in two boxes; widths are computed for an 11 px sans-serif font."""
    score = overall["mean_computed_score"]
    value = f"{score:.2f} of 6, {overall['commit_count']} entries"
    left, right = width(LABEL), width(value)
    colour = next((colour for limit, colour in COLOURS if score <= limit), COLOURS[-1][1])
    text = f"{LABEL}: {value}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="{HEIGHT}" role="img" '
            f'aria-label="{escape(text)}">',
            f"  <title>{escape(text)}</title>",
            f'  <rect width="{left}" height="{HEIGHT}" fill="#444"/>',
            f'  <rect x="{left}" width="{right}" height="{HEIGHT}" fill="{colour}"/>',
            '  <g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">',
            f'    <text x="{left / 2:g}" y="14">{escape(LABEL)}</text>',
            f'    <text x="{left + right / 2:g}" y="14">{escape(value)}</text>',
            "  </g>",
            "</svg>",
            "",
        ]
    )


def width(text: str) -> int:
    return round(len(text) * PER_CHARACTER) + PADDING


def snapshot(overall: Row) -> str:
    """The block for the README, with its comments."""
    lines = [
        BEGIN,
        f"![autonomy golf]({BADGE.as_posix()})",
        "",
        "| mean score of an entry | mean complexity | mean of a bullet | entries | subsystems |",
        "|---|---|---|---|---|",
        f"| {overall['mean_computed_score']:.2f} | {overall['mean_computed_complexity']:.2f} "
        f"| {overall['mean_score_per_bullet']:.2f} | {overall['commit_count']} | {overall['subsystem_count']} |",
        END,
    ]
    return "\n".join(lines)


def refreshed(readme: str, overall: Row) -> str:
    """The README with its block as it is now. ValueError when it has no place for one."""
    block = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", flags=re.DOTALL)
    if len(block.findall(readme)) != 1:
        raise ValueError(f"README.md needs one place for the snapshot: the lines {BEGIN} and {END}")
    return block.sub(lambda _: snapshot(overall), readme)
