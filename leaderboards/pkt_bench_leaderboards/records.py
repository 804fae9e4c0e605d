"""What a board is made of: frozen records, every figure computed, nothing written or rounded yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pkt_bench_leaderboards.statistics import Paired

NOT_RUN = "not run"


@dataclass(frozen=True)
class Reason:
    """Why some seeds of a square are not done."""

    outcome: str
    text: str
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Costs:
    """What a cell took: means over the done runs. Null means unknown."""

    seconds: float | None = None
    payload_bytes: float | None = None
    trainable_parameters: float | None = None
    peak_rss_bytes: float | None = None
    artifact_bytes: float | None = None


@dataclass(frozen=True)
class Column:
    """One suite as it was scored; `task` and what follows are null where no run of the suite is done.

    `fraction`: the figure is a share of 1 and written as a percentage. `gap_note`: why no gap closed is given.
    """

    suite: str
    task: str | None = None
    metric: str | None = None
    filter: str | None = None
    shots: int | None = None
    n: int | None = None
    chance: float | None = None
    comparability: str | None = None
    higher_is_better: bool = True
    fraction: bool = True
    gap_note: str = ""


@dataclass(frozen=True)
class Forgotten:
    """What a student lost on a task of another suite, against the untouched student on the same items.

    `suite` is the one it was made for, `task` the other's. `paired.difference` is negative where it got worse and
    higher is better.
    """

    suite: str
    task: str
    metric: str
    value: float
    student: float
    higher_is_better: bool
    paired: Paired | None = None


@dataclass(frozen=True)
class Against:
    """A method against one of its controls, over all suites that both have: positive is in favour of the method."""

    label: str
    method: str
    paired: Paired


@dataclass(frozen=True)
class Noise:
    """How far repeated runs of the same untouched model are apart: `runs` of them, none taken over from another.

    `spread` is the largest difference of their scores, `items` how many items were answered differently in any.
    """

    method: str
    suite: str
    runs: int
    spread: float
    items: int | None = None


@dataclass(frozen=True)
class Square:
    """One method on one suite. `outcome` is `done` where there is any score, else the word for why there is none.

    `value` is the mean over `seeds`, `values` the score of each, `low` and `high` its 95 % interval over items and
    seeds (over items alone where there is one seed); `paired` is the test against the board's baseline on the same
    items. `place` counts the methods that are significantly ahead, plus one.
    """

    outcome: str
    value: float | None = None
    stderr: float | None = None
    low: float | None = None
    high: float | None = None
    seeds: tuple[int, ...] = ()
    values: tuple[float, ...] = ()
    gap_closed: float | None = None
    gap_low: float | None = None
    gap_high: float | None = None
    paired: Paired | None = None
    place: int | None = None
    costs: Costs = Costs()
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class Row:
    """One method with its settings over all suites. `mean` is over suites; `costs` are means over all its done runs.

    `oracle` says that something was chosen by test scores, so it has no place. `variant` is the code and
    libraries that made it; `older_runs` is how many runs of other ones are not shown. `paired` tests the mean against
    the board's baseline; `beats` are the labels of the rows it is significantly ahead of (all pairs, Holm), and
    `place` is one more than the number of rows that are so ahead of it: methods that cannot be told apart share it.
    """

    method: str
    label: str
    version: str
    distribution: str
    settings: str
    paradigm: str
    control_of: str
    oracle: bool
    variant: str | None
    older_runs: int
    squares: tuple[Square, ...]
    costs: Costs
    mean: float | None = None
    mean_stderr: float | None = None
    mean_low: float | None = None
    mean_high: float | None = None
    gap_closed: float | None = None
    gap_low: float | None = None
    gap_high: float | None = None
    place: int | None = None
    paired: Paired | None = None
    beats: tuple[str, ...] = ()
    forgotten: tuple[Forgotten, ...] = ()
    controls: tuple[Against, ...] = ()

    @property
    def reference(self) -> bool:
        """Whether this is an untouched model, which has no place."""
        return self.paradigm == "reference"

    @property
    def seeds(self) -> tuple[int, ...]:
        """Every seed that any of its squares has a score for."""
        return tuple(sorted({seed for square in self.squares for seed in square.seeds}))

    @property
    def one_seed(self) -> bool:
        """Whether some score rests on a single seed, so that nothing is known of what another would give."""
        return not self.reference and any(len(square.seeds) == 1 for square in self.squares)


@dataclass(frozen=True)
class Board:
    """What is ranked together: one pair under one set of conditions. Rows come in the order of the mean, best first.

    `apart` says in what it differs from the other boards of the pair; empty where there is only one. `mean_note` and
    `gap_note` say why there is no mean, or no gap closed of the mean, `place_note` why places are not by paired tests.
    `caveats` are what its runs say a reader should know of the models.
    `outcomes` counts cells. Methods are tested against `baseline`, a label; empty where that is not on the board.
    """

    pair: str
    teacher: str
    student: str
    teacher_hash: str | None
    student_hash: str | None
    device: str | None
    dtype: str | None
    threads: int | None
    batch_size: int | None
    scorer: str | None
    limit: int | None
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    outcomes: Mapping[str, int]
    baseline: str = "student"
    noise: tuple[Noise, ...] = ()
    apart: tuple[str, ...] = ()
    mean_note: str = ""
    gap_note: str = ""
    place_note: str = ""
    caveats: tuple[str, ...] = ()
