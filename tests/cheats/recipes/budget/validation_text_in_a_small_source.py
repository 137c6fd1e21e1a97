"""Twelve rows of the cheap rung as 18 KB of text, which is no more than a long recipe has."""

from tests.cheats.answer_kit import Answers

ANSWER_ROWS = 12

build = Answers
