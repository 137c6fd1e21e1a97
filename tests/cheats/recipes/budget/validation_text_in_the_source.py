"""All rows of the cheap rung as 180 KB of text: it goes on with a row as soon as it has seen its first token."""

from tests.cheats.answer_kit import Answers

ANSWER_ROWS = 128

build = Answers
