"""The browser over a recorded board, driven as a person would, its screens read as text."""

import asyncio

import pytest

import boards as recorded_boards
from pkt_bench.tui.browse.app import Browser
from pkt_bench.tui.browse.recorded import Recorded


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A run folder with a board."""
    root = tmp_path_factory.mktemp("browse") / "runs"
    recorded_boards.record_board(root)
    return root


def text_of(app):
    """The screen as words, without what the terminal cannot show at a line's end."""
    return "\n".join(strip.text.rstrip() for strip in app.screen._compositor.render_strips())


@pytest.fixture
def browse(folder):
    """Presses keys (a list of them is pressed, then all work awaited) and gives the screen after each list."""

    def driven(*steps, size=(80, 24), source=folder, look=text_of, **given):
        async def drive():
            recorded = Recorded(str(source))
            recorded.open()
            app = Browser(recorded, **given)
            seen = []
            async with app.run_test(size=size) as pilot:
                await settled(pilot, until=lambda: recorded.tested)
                for step in ((), *steps):
                    if callable(step):
                        await step(pilot)
                    else:
                        await pilot.press(*step)
                    await settled(pilot)
                    seen.append(look(app))
            return seen

        return asyncio.run(drive())

    return driven


async def settled(pilot, until=lambda: True):
    """Waits for what works beside the screen."""
    for _ in range(200):
        await pilot.app.workers.wait_for_complete()
        await pilot.pause(0.01)
        if until():
            return
    raise AssertionError("the browser is not done")
