"""Asking people which of two images is better: a survey by two-alternative forced choice, and what its answers say.

`design` (what is asked, and its images), `page` (for a browser and for a notebook), `answers` (the files that come
back, and which of them count), `analysis` (shares, worths, agreement, power), `report` (a table and a figure),
`simulate` (raters of known bias), `commands` (`rgd survey`). Chapter 16 explains why all is done as it is.
"""

from rgd.survey.analysis import analyse
from rgd.survey.answers import Answers, read
from rgd.survey.design import Drawn, Key, Method, Survey, draw
from rgd.survey.page import page, widget

__all__ = ["Answers", "Drawn", "Key", "Method", "Survey", "analyse", "draw", "page", "read", "widget"]
