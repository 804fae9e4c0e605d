"""Where the tasks of the suites lie."""

from pathlib import Path

TASKS = Path(__file__).parent / "tasks"
