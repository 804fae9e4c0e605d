"""The application: its screens, commands and help."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from pkt_bench.tui.browse.leaderboard import Leaderboard
from pkt_bench.tui.browse.page import Reading
from pkt_bench.tui.browse.recorded import Recorded

_HELP = (
    (
        "getting around",
        """up, down, page up, page down, home, end: the lines; also k, j, g, G
left, right: the columns that do not fit
Enter, or a click on the line under the cursor: down into it
Escape or Backspace: back
q: leave; ?: this help; ctrl+p: every command by name""",
    ),
    (
        "on the leaderboard",
        """/: filter, by words or by an expression such as  p < 0.05 and seconds < 60  or  like(method, 'nug*')
s, S, or a click on a heading: sort by another column; o: turn the order round
a: every column; b: the next board; n: the notes: what the marks mean, tests, failures and their reasons
f: the documents this row gained and lost against the baseline
c: set this row beside another, and from there f for the documents they answered differently
p: score against cost""",
    ),
    ("the way down", "pair > method > run > documents > one document with the answers of every run"),
    (
        "what the marks say",
        """▲ ▼ better, worse than the baseline on the same items, p < 0.05 after correction.
△ ▽ the same from one seed, which is not yet a win.
A place is one more than the number of methods that are significantly ahead: what cannot be told apart shares it.""",
    ),
)


class Help(Reading):
    """Every key."""

    def __init__(self) -> None:
        super().__init__(["help"])

    def fill(self) -> None:
        """The keys, by screen."""
        self.write(_HELP)


class Browser(App[None]):
    """Walks through what was recorded; changes nothing."""

    TITLE = "pkt-bench"
    COMMAND_PALETTE_BINDING = "ctrl+p"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True),
        Binding("question_mark", "help", "Help"),
    ]

    def __init__(self, recorded: Recorded, *, plain: bool | None = None) -> None:
        super().__init__()
        self.recorded = recorded
        encoding = (getattr(sys.stdout, "encoding", None) or "").lower()
        self.plain = not encoding.startswith("utf") if plain is None else plain
        """Whether the terminal has no Unicode."""

    def on_mount(self) -> None:
        """Opens the leaderboard."""
        self.push_screen(Leaderboard())

    def action_help(self) -> None:
        """Shows every key."""
        if not isinstance(self.screen, Help):
            self.push_screen(Help())

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The commands of the palette: Textual's own, and those of the screen one is on."""
        yield from super().get_system_commands(screen)
        for binding in screen.active_bindings.values():
            described = binding.binding
            if described.description and described.action not in {"app.help", "quit"}:
                yield SystemCommand(described.description, f"key {described.key}", _runs(screen, described.action))


def _runs(screen: Screen[object], action: str):  # type: ignore[no-untyped-def]  # noqa: ANN202 - a command
    async def run() -> None:
        await screen.run_action(action)

    return run
