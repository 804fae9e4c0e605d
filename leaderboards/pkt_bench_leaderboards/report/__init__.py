"""Boards as one HTML file to attach to a paper: it needs no network, no script and no other file to be read.

page.py        the page, section by section
verdict.py     what the board says, in sentences
tables.py      the board, every pair, controls, forgetting, failures
intervals.py   means with intervals, scores of seeds
frontier.py    score against cost
ranks.py       the critical-difference diagram
grids.py       what methods tried before they chose
examples.py    prompts and answers
provenance.py  environment, commands, digests
counted.py     the runs behind a board
measures.py    what is plotted
axes.py, drawing.py, markup.py, style.py   what pages and plots are made with
"""

from __future__ import annotations

from pkt_bench_leaderboards.report.page import MARK, Beside, page

__all__ = ["MARK", "Beside", "page"]
