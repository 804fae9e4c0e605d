"""What all screens have: where one is, keys, what is said, and a way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, cast

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Footer, Static

from pkt_bench.tui.browse.listing import Entry, Listing
from pkt_bench_leaderboards import text
from pkt_bench_leaderboards.sheet import Cell, Heading

if TYPE_CHECKING:
    from pkt_bench.tui.browse.app import Browser
    from pkt_bench.tui.browse.recorded import Recorded


class Page(Screen[None]):
    """A screen below the leaderboard; Escape goes back. `path` is where one is, from the pair down."""

    DEFAULT_CSS = """
    Page { layout: vertical; }
    Page > .path { height: auto; max-height: 2; text-style: bold; padding: 0 1; }
    Page > .said { height: auto; max-height: 4; color: $text-muted; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace", "back", "Back"),
        Binding("question_mark", "app.help", "Help"),
    ]

    def __init__(self, path: Sequence[str]) -> None:
        super().__init__()
        self.path = tuple(path)

    @property
    def browser(self) -> Browser:
        """The application."""
        return cast("Browser", self.app)

    @property
    def recorded(self) -> Recorded:
        """What is looked at."""
        return self.browser.recorded

    def compose(self) -> ComposeResult:
        """The path, what is said, the page itself, and the keys."""
        yield Static(id="path", classes="path", markup=False)
        yield Static(id="said", classes="said", markup=False)
        yield from self.body()
        yield Footer(show_command_palette=False)

    def body(self) -> Sequence[Widget]:
        """What the page shows."""
        return [Listing(ascii_only=self.browser.plain)]

    def on_mount(self) -> None:
        """Fills the page, and lets keys reach it."""
        self.query_one("#path", Static).update(self.plain(" > ".join(self.path)))
        self.fill()

    def fill(self) -> None:
        """Puts the page's content in; called again when boards are tested."""

    def say(self, words: str) -> None:
        """A remark under the path."""
        self.query_one("#said", Static).update(self.plain(words))

    def plain(self, words: str) -> str:
        """Words for a terminal that may have no Unicode."""
        return text.ascii_only(words) if self.browser.plain else words

    @property
    def listing(self) -> Listing:
        """The page's table."""
        return self.query_one(Listing)

    def action_back(self) -> None:
        """Goes back to where one came from."""
        self.app.pop_screen()


class Reading(Page):
    """A page of words to scroll through."""

    DEFAULT_CSS = """
    Reading VerticalScroll { height: 1fr; padding: 0 1; }
    """

    def body(self) -> Sequence[Widget]:
        """One text, as long as it is."""
        return [VerticalScroll(Static(id="words", markup=False))]

    def write(self, parts: Sequence[tuple[str, str]]) -> None:
        """Shows (heading, words) one below the other, words exactly as they are but for what moves a cursor."""
        written = Text()
        for heading, words in parts:
            if heading:
                written.append(self.plain(f"{heading}\n"), "bold underline")
            written.append(self.plain(text_as_is(words)) + "\n\n")
        self.query_one("#words", Static).update(written)
        self.query_one(VerticalScroll).focus()


class Asking(ModalScreen[str | None]):
    """A choice of one of several names; Escape chooses nothing."""

    DEFAULT_CSS = """
    Asking { align: center middle; }
    Asking > #box { width: 70%; height: 70%; border: solid $primary; background: $surface; }
    Asking #question { height: 1; text-style: bold; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Cancel")]

    def __init__(self, question: str, names: Sequence[str], *, ascii_only: bool) -> None:
        super().__init__()
        self._question, self._names, self._ascii = question, tuple(names), ascii_only

    def compose(self) -> ComposeResult:
        """The question and its answers."""
        from textual.containers import Vertical

        with Vertical(id="box"):
            yield Static(self._question, id="question", markup=False)
            yield Listing(ascii_only=self._ascii)

    def on_mount(self) -> None:
        """Offers the names."""
        listing = self.query_one(Listing)
        listing.show([Heading("name", "name", right=False)], [Entry(name, (Cell(name),)) for name in self._names])
        listing.focus()

    def on_listing_chosen(self, event: Listing.Chosen) -> None:
        """One was chosen."""
        event.stop()
        self.dismiss(event.key)


def text_as_is(words: str) -> str:
    """Words of a stranger over several lines, without what would move the cursor."""
    return "".join(letter if letter in "\n\t" or letter.isprintable() else "�" for letter in words).expandtabs(4)
