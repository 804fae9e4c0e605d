"""`pkt-bench browse`: a leaderboard to walk through, from who is ahead down to what a student answered.

recorded.py     what was read: boards at once, answers when somebody asks for them
listing.py      the one table of all screens: any number of lines, drawn as they are seen
page.py         what all screens have: a path, keys, a way back
leaderboard.py  the boards, sorted and filtered
method.py       the runs of one row; one run; its documents; one document
flips.py        which documents two rows answered differently
side.py         two rows side by side
frontier.py     score against cost
app.py          the application, its commands and help
"""

from __future__ import annotations
