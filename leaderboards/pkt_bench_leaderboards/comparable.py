"""Which rows of a runs table may be ranked together, and what sets them apart from the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pkt_bench_leaderboards import text

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")


class RowKey(NamedTuple):
    """What makes two runs the same row of a board."""

    method: str
    version: str
    distribution: str
    settings: str


class Conditions(NamedTuple):
    """What all runs of a board have in common; known of a run even if it failed."""

    pair: str
    teacher_hash: str | None
    student_hash: str | None
    device: str | None
    dtype: str | None
    threads: int | None
    batch_size: int | None
    scorer: str | None
    limit: int | None


class Entry(NamedTuple):
    """What a board needs of one run: its headline row, or its only row where it has none. Names as in the schema."""

    run_id: str
    cell_key: str
    method: str
    method_version: str | None
    distribution: str | None
    settings: str
    paradigm: str | None
    control_of: str | None
    selection: str | None
    variant: str | None
    pair: str
    teacher: str | None
    teacher_revision: str | None
    teacher_hash: str | None
    student: str | None
    student_revision: str | None
    student_hash: str | None
    suite: str
    task: str | None
    task_version: str | None
    task_hash: str | None
    metric: str | None
    filter: str | None
    shots: int | None
    limit: int | None
    seed: int
    chance: float | None
    value: float | None
    stderr: float | None
    n: int | None
    higher_is_better: bool | None
    seconds: float | None
    peak_rss_bytes: int | None
    trainable_parameters: int | None
    payload_bytes: int | None
    artifact_bytes: int | None
    outcome: str
    reason: str
    scorer: str | None
    device: str | None
    dtype: str | None
    threads: int | None
    batch_size: int | None
    data_hash: str | None
    prompt_hash: str | None
    scoring_hash: str | None
    documents_hash: str | None
    caveats: str | None
    created_at: int
    comparability: str | None
    row: RowKey
    """The row of the board it belongs to."""
    conditions: Conditions
    """What it shares with every row of its board."""

    @property
    def done(self) -> bool:
        """Whether it has a score that counts."""
        return self.outcome == "done" and self.task is not None

    @property
    def ranked(self) -> bool:
        """Whether it may take a place: untouched models are references, and an oracle has seen the test documents."""
        return self.paradigm != "reference" and self.selection != "oracle"

    @property
    def merit(self) -> tuple[bool, int, str]:
        """Of several attempts at one cell the one with the most merit counts: a done one, then the newest."""
        return (self.done, self.created_at, self.run_id)

    @property
    def age(self) -> tuple[int, str]:
        """What puts entries in order of time, the newest last."""
        return (self.created_at, self.run_id)


@dataclass(frozen=True)
class Group:
    """The runs of one board: per suite the done ones, all comparable, and those that ended otherwise.

    A row has runs of one variant only, the newest; those of its `older` ones are kept apart.
    """

    conditions: Conditions
    done: dict[str, tuple[Entry, ...]]
    others: tuple[Entry, ...]
    older: tuple[Entry, ...] = ()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All of them but the older ones."""
        return (*(entry for found in self.done.values() for entry in found), *self.others)

    @property
    def newest(self) -> Entry:
        """The last one made."""
        return max(self.entries or self.older, key=lambda entry: entry.age)

    def only(self, suites: Collection[str]) -> Group:
        """The group with no other suites than these."""
        return replace(
            self,
            done={suite: entries for suite, entries in self.done.items() if suite in suites},
            others=tuple(entry for entry in self.others if entry.suite in suites),
            older=tuple(entry for entry in self.older if entry.suite in suites),
        )


# what an entry is made of beside the columns of its names
_MADE = 2
_ROW = ("method", "method_version", "distribution", "settings")


def read_entries(runs: pa.Table) -> list[Entry]:
    """The rows a board is made of, from the attempt that counts for each cell, dated by the last attempt at it.

    A cell that was tried again is news of it even where an earlier attempt is the one that counts.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    # null, which filter leaves out, where headline is unknown
    wanted = pc.or_kleene(pc.is_null(runs["task"]), runs["headline"])
    names = Entry._fields[:-_MADE]
    table = runs.select(names).filter(wanted).combine_chunks()
    # microseconds since 1970 compare as well as times do, and cost a hundredth
    columns = [_listed(table[name].cast(pa.int64()) if name == "created_at" else table[name]) for name in names]
    rows = _together(columns, names, _ROW, lambda values: RowKey(*(value or "" for value in values)))
    conditions = _together(columns, names, Conditions._fields, lambda values: Conditions(*values))
    entries = list(map(Entry._make, zip(*columns, rows, conditions, strict=True)))
    best: dict[str, Entry] = {}
    tried: dict[str, int] = {}
    for entry in entries:
        key = entry.cell_key
        before = best.get(key)
        if before is None:
            best[key], tried[key] = entry, entry.created_at
        else:
            best[key] = max(before, entry, key=_merit)
            tried[key] = max(entry.created_at, tried[key])
    return [
        entry if entry.created_at == tried[entry.cell_key] else entry._replace(created_at=tried[entry.cell_key])
        for entry in entries
        if entry.run_id == best[entry.cell_key].run_id
    ]


def _merit(entry: Entry) -> tuple[bool, int, str]:
    return entry.merit


def _listed(column: pa.ChunkedArray) -> list[Any]:
    """A column as Python values; words that repeat are made once."""
    import pyarrow as pa

    if not pa.types.is_string(column.type):
        return column.to_pylist()
    encoded = column.combine_chunks().dictionary_encode()
    words = encoded.dictionary.to_pylist()
    if len(words) == len(column):
        return words
    # an index of null is None, which is no index of a list
    found = dict(enumerate(words)) | {None: None}
    return [found[index] for index in encoded.indices.to_pylist()]


def _together(
    columns: Sequence[list[Any]],
    names: Sequence[str],
    wanted: Sequence[str],
    make: Callable[[Sequence[Any]], T],
) -> list[T]:
    """What `make` gives of the named columns in each row, made once for rows in which they are alike."""
    chosen = [columns[names.index(name)] for name in wanted]
    made: dict[tuple[Any, ...], T] = {}
    found = []
    for values in zip(*chosen, strict=True):
        known = made.get(values)
        if known is None:
            known = made[values] = make(values)
        found.append(known)
    return found


def groups(entries: Iterable[Entry]) -> list[Group]:
    """Splits runs so that within a group and a suite all scores have one comparability key.

    Where a suite has several keys, the newest go into the first group, those before them into the next. A run
    that is not done has no key and goes into the first. Groups come by pair, whole before limited, newest first.
    """
    alike: dict[Conditions, list[Entry]] = defaultdict(list)
    for entry in entries:
        alike[entry.conditions].append(entry)
    found: list[Group] = []
    for conditions, members in alike.items():
        keys: dict[str, dict[str | None, list[Entry]]] = defaultdict(lambda: defaultdict(list))
        for entry in members:
            if entry.done:
                keys[entry.suite][entry.comparability].append(entry)
        ages = {
            suite: sorted(by_key.values(), key=lambda rows: max(e.created_at for e in rows), reverse=True)
            for suite, by_key in sorted(keys.items())
        }
        others = tuple(entry for entry in members if not entry.done)
        for age in range(max((len(rows) for rows in ages.values()), default=1)):
            done = {suite: tuple(rows[age]) for suite, rows in ages.items() if age < len(rows)}
            found.append(_newest_variants(Group(conditions, done, others if age == 0 else ())))
    return sorted(
        found,
        key=lambda group: (
            group.conditions.pair,
            group.conditions.limit is not None,
            -group.newest.created_at,
        ),
    )


def _newest_variants(group: Group) -> Group:
    """The group with only the newest variant of each row, by its newest run however that ended.

    The mean of two codes is that of neither, and what an older code could do says nothing of the one there is now.
    """
    newest: dict[RowKey, Entry] = {}
    for entry in group.entries:
        if entry.row not in newest or entry.age > newest[entry.row].age:
            newest[entry.row] = entry

    def current(entry: Entry) -> bool:
        return entry.variant == newest[entry.row].variant

    kept = {suite: tuple(filter(current, entries)) for suite, entries in group.done.items()}
    return replace(
        group,
        done={suite: entries for suite, entries in kept.items() if entries},
        others=tuple(filter(current, group.others)),
        older=tuple(entry for entry in group.entries if not current(entry)),
    )


_CONDITIONS = {
    "limit": "limit",
    "device": "device",
    "dtype": "dtype",
    "threads": "threads",
    "batch_size": "batch size",
    "scorer": "scorer",
    "teacher_hash": "teacher",
    "student_hash": "student",
}
_TASK = {
    "task": "task",
    "task_version": "task version",
    "metric": "metric",
    "filter": "filter",
    "shots": "shots",
    "task_hash": "task configuration",
    "data_hash": "records",
    "prompt_hash": "prompt format",
    "scoring_hash": "scoring code",
    "documents_hash": "documents and answers",
    "n": "number of documents",
}


def sets_apart(group: Group, all_groups: Sequence[Group]) -> tuple[str, ...]:
    """In what a group differs from the other groups of its pair, in words; empty where there is no other."""
    rivals = [g for g in all_groups if g.conditions.pair == group.conditions.pair and g is not group]
    found = []
    for name, word in _CONDITIONS.items():
        mine = getattr(group.conditions, name)
        if any(getattr(rival.conditions, name) != mine for rival in rivals):
            found.append(f"{word} {_written(mine)}")
    for suite, rows in group.done.items():
        for rival in rivals:
            # under other conditions other scores are no surprise, and the conditions are named above
            if rival.conditions != group.conditions or suite not in rival.done:
                continue
            for name, word in _TASK.items():
                mine, other = getattr(rows[0], name), getattr(rival.done[suite][0], name)
                if mine != other:
                    found.append(f"{suite}: {word} {_written(mine)}, not {_written(other)}")
    return tuple(dict.fromkeys(found))


def _written(value: str | int | None) -> str:
    if value is None:
        return "none"
    written = str(value)
    is_digest = len(written) >= 32 and all(letter in "0123456789abcdef" for letter in written)
    return text.short_hash(written) if is_digest else written
