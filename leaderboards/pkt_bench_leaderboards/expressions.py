"""One grammar for filters: what may be asked of a row, read without running anything.

    method == lora and seed < 3
    settings.rank in (4, 8) or not like(method, 'nuggets:*')
    0.2 < value <= 0.8 and payload_bytes is not None

`and`, `or`, `not`; `==`, `!=`, `<`, `<=`, `>`, `>=`, also in chains; `in` and `not in` with a list; numbers, quoted
text, `True`, `False`, `None`; columns, and fields of columns that hold JSON (`settings.rank`); `column('any name')`
for a column whose name is no word; `like(column, pattern)` with `*` for any letters and `?` for one. Right of `==`,
`!=` and `in` a word that is no column is text; one that may be either is refused. Times are compared with text:
'2026-01-31' or '2026-01-31 18:00', in UTC.

Null is unknown, and so is every comparison with it, `!=` too: `is None` asks for it. Values of two kinds are never
equal, and which of them is larger is unknown. A row of which it is unknown whether the filter holds is left out.
"""

from __future__ import annotations

import ast
import contextlib
import datetime as dt
import difflib
import fnmatch
import functools
import json
import operator
import re
import tokenize
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import pyarrow as pa

LONGEST = 2_000
"""Most characters an expression may have."""
DEEPEST = 50
"""Most levels it may be nested."""

_ORDER: dict[type[ast.cmpop], tuple[str, Callable[[Any, Any], bool]]] = {
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
}
_KINDS = {"string": "text", "int": "a number", "float": "a number", "bool": "True or False", "time": "a time"}
_PYTHON_WORDS = {"true": "True", "false": "False", "null": "None", "none": "None", "nan": "None"}
_INSTEAD = {"=": "==", "&&": "and", "||": "or", "&": "and", "|": "or", "!": "not", "<>": "!=", "===": "=="}


class ExpressionError(ValueError):
    """An expression that cannot be read; the message shows where, what is allowed and what was perhaps meant."""


@dataclass(frozen=True)
class Expression:
    """A filter that was read. `names` are the columns it asks, in the order they are named."""

    text: str
    names: tuple[str, ...]
    _root: Predicate

    def holds(self, mapping: Mapping[str, Any]) -> bool | None:
        """Whether it holds for one row, given as column and value; None where that is unknown.

        Columns that are not in the mapping are null. JSON columns may be text or what was read from it.
        """
        return self._root.holds(mapping)

    def mask(self, table: pa.Table) -> pa.BooleanArray:
        """The same for every row of a table: (rows,) booleans, null where it is unknown. `table.filter` drops those.

        Raises:
            KeyError: the table lacks a column of `names`.
        """
        return self._root.mask(table)

    def texts(self) -> Iterator[tuple[str, str]]:
        """Columns, each with a text that it is asked to equal: to say so where none of a table does."""
        yield from _texts(self._root)


def parse(text: str, columns: Collection[str] | Mapping[str, str]) -> Expression:
    """Reads an expression about `columns`; a mapping also says the kind of each, as `schema.Field.kind` does.

    Kinds that are known are checked here: `seed == '1'` is refused instead of never being true.

    Raises:
        ExpressionError: it is not in the grammar, names a column there is not, or compares what never compares.
    """
    reader = _Reader(text, columns)
    root = reader.read()
    return Expression(reader.text, tuple(dict.fromkeys(field.column for field in root.fields())), root)


# ---------------------------------------------------------------- the tree


@dataclass(frozen=True)
class Literal:
    """A value that was written down: number, text, True or False."""

    value: bool | float | str

    def of(self, mapping: Mapping[str, Any]) -> Any:  # noqa: ARG002, ANN401 - as a field is asked
        """The value."""
        return self.value


@dataclass(frozen=True)
class Field:
    """A column, or with a `path` what a column of JSON objects has under these names; `sign` is -1 for its negative."""

    column: str
    path: tuple[str, ...] = ()
    sign: int = 1

    def of(self, mapping: Mapping[str, Any]) -> Any:  # noqa: ANN401 - whatever the column holds
        """The value in a row; None where there is none."""
        value = mapping.get(self.column)
        for name in self.path:
            value = _parsed(value).get(name)
        if self.sign < 0:
            return -value if isinstance(value, int | float) and not isinstance(value, bool) else None
        return value


Value = Literal | Field


@dataclass(frozen=True)
class Predicate(ABC):
    """What holds for a row, does not, or is unknown. Subclasses say how."""

    @abstractmethod
    def fields(self) -> Iterator[Field]:
        """Every field it asks."""

    @abstractmethod
    def holds(self, mapping: Mapping[str, Any]) -> bool | None:
        """For one row."""

    def mask(self, table: pa.Table) -> pa.BooleanArray:
        """For all rows: each distinct value of a column is judged once, for a table has few of most of them."""
        import pyarrow as pa

        names = list(dict.fromkeys(field.column for field in self.fields()))
        if len(names) == 1 and _has_distinct(table[names[0]].type):
            import pyarrow.compute as pc

            column = table[names[0]]
            distinct = pc.unique(column)
            verdicts = pa.array([self.holds({names[0]: value}) for value in distinct.to_pylist()], pa.bool_())
            return _whole(verdicts.take(_whole(pc.index_in(column, value_set=distinct))))
        lists = [table[name].to_pylist() for name in names]
        rows = zip(*lists, strict=True) if names else (() for _ in range(table.num_rows))
        return pa.array([self.holds(dict(zip(names, row, strict=True))) for row in rows], pa.bool_())


@dataclass(frozen=True)
class Compare(Predicate):
    """Two values and `==`, `!=`, `<`, `<=`, `>` or `>=`."""

    sign: str
    left: Value
    right: Value

    def fields(self) -> Iterator[Field]:
        """Every field it asks."""
        return (value for value in (self.left, self.right) if isinstance(value, Field))

    def holds(self, mapping: Mapping[str, Any]) -> bool | None:
        """Unknown with null, and with an order between kinds."""
        return _compare(self.sign, self.left.of(mapping), self.right.of(mapping))


@dataclass(frozen=True)
class Within(Predicate):
    """A value and the values that it may be one of."""

    value: Value
    options: tuple[Value, ...]

    def fields(self) -> Iterator[Field]:
        """Every field it asks."""
        return (value for value in (self.value, *self.options) if isinstance(value, Field))

    def holds(self, mapping: Mapping[str, Any]) -> bool | None:
        """Whether it equals any."""
        value = self.value.of(mapping)
        return _any(_compare("==", value, option.of(mapping)) for option in self.options)


@dataclass(frozen=True)
class IsNull(Predicate):
    """Whether a value is unknown, which itself is always known."""

    value: Field

    def fields(self) -> Iterator[Field]:
        """Every field it asks."""
        yield self.value

    def holds(self, mapping: Mapping[str, Any]) -> bool | None:
        """Whether there is none."""
        return self.value.of(mapping) is None


@dataclass(frozen=True)
class Like(Predicate):
    """Whether the whole of a text is like a pattern; unknown of what is no text."""

    value: Field
    pattern: str

    def fields(self) -> Iterator[Field]:
        """Every field it asks."""
        yield self.value

    def holds(self, mapping: Mapping[str, Any]) -> bool | None:
        """Upper and lower case differ."""
        value = self.value.of(mapping)
        return _pattern(self.pattern).match(value) is not None if isinstance(value, str) else None


@dataclass(frozen=True)
class Truth(Predicate):
    """A column of True and False by itself; unknown of what is neither."""

    value: Value

    def fields(self) -> Iterator[Field]:
        """Every field it asks."""
        if isinstance(self.value, Field):
            yield self.value

    def holds(self, mapping: Mapping[str, Any]) -> bool | None:
        """What it says."""
        value = self.value.of(mapping)
        return value if isinstance(value, bool) else None


@dataclass(frozen=True)
class Not(Predicate):
    """The contrary; of the unknown, unknown."""

    part: Predicate

    def fields(self) -> Iterator[Field]:
        """Every field it asks."""
        return self.part.fields()

    def holds(self, mapping: Mapping[str, Any]) -> bool | None:
        """For one row."""
        found = self.part.holds(mapping)
        return None if found is None else not found

    def mask(self, table: pa.Table) -> pa.BooleanArray:
        """For all rows."""
        import pyarrow.compute as pc

        return pc.invert(self.part.mask(table))


@dataclass(frozen=True)
class Junction(Predicate):
    """Several, of which `every` one or any must hold; the unknown counts only where the others do not decide."""

    every: bool
    parts: tuple[Predicate, ...]

    def fields(self) -> Iterator[Field]:
        """Every field it asks."""
        return (field for part in self.parts for field in part.fields())

    def holds(self, mapping: Mapping[str, Any]) -> bool | None:
        """For one row."""
        found = (part.holds(mapping) for part in self.parts)
        if not self.every:
            return _any(found)
        missed = _any(None if each is None else not each for each in found)
        return None if missed is None else not missed

    def mask(self, table: pa.Table) -> pa.BooleanArray:
        """For all rows."""
        import pyarrow.compute as pc

        join = pc.and_kleene if self.every else pc.or_kleene
        return functools.reduce(join, [part.mask(table) for part in self.parts])


def _texts(asked: Predicate) -> Iterator[tuple[str, str]]:
    if isinstance(asked, Not):
        yield from _texts(asked.part)
    elif isinstance(asked, Junction):
        for part in asked.parts:
            yield from _texts(part)
    elif isinstance(asked, Within) or (isinstance(asked, Compare) and asked.sign in {"==", "!="}):
        sides = (asked.value, *asked.options) if isinstance(asked, Within) else (asked.left, asked.right)
        fields = [side.column for side in sides if isinstance(side, Field) and not side.path]
        texts = [side.value for side in sides if isinstance(side, Literal) and isinstance(side.value, str)]
        yield from ((field, text) for field in fields for text in texts)


def _any(found: Iterator[bool | None]) -> bool | None:
    unknown = False
    for each in found:
        if each:
            return True
        unknown |= each is None
    return None if unknown else False


def _compare(sign: str, left: Any, right: Any) -> bool | None:  # noqa: ANN401 - whatever the columns hold
    kinds = _kind(left), _kind(right)
    if "null" in kinds:
        return None
    if kinds == ("time", "text"):
        left, right = _utc(left), moment(right)
    elif kinds == ("text", "time"):
        left, right = moment(left), _utc(right)
    elif kinds[0] != kinds[1]:
        return {"==": False, "!=": True}.get(sign)
    elif kinds[0] == "time":
        left, right = _utc(left), _utc(right)
    if left is None or right is None:  # a text that is no time
        return {"==": False, "!=": True}.get(sign)
    if sign in {"==", "!="}:
        return bool(left == right) is (sign == "==")
    if kinds[0] in {"other", "truth"}:
        return None
    return next(order for name, order in _ORDER.values() if name == sign)(left, right)


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "text"
    return "time" if isinstance(value, dt.datetime) else "other"


def _utc(value: dt.datetime) -> dt.datetime:
    return value if value.tzinfo is not None else value.replace(tzinfo=dt.UTC)


@functools.lru_cache(maxsize=256)
def moment(text: str) -> dt.datetime | None:
    """The time a text writes (ISO 8601, in UTC unless it says otherwise), or None."""
    try:
        return _utc(dt.datetime.fromisoformat(text))
    except ValueError:
        return None


@functools.lru_cache(maxsize=256)
def _pattern(pattern: str) -> re.Pattern[str]:
    # what fnmatch makes cannot take exponential time; its brackets are no part of our grammar
    return re.compile(fnmatch.translate(pattern.replace("[", "[[]")))


def _parsed(value: object) -> Mapping[str, Any]:
    if isinstance(value, str):
        value = _json(value)
    return value if isinstance(value, Mapping) else {}


@functools.lru_cache(maxsize=4096)
def _json(text: str) -> Any:  # noqa: ANN401 - whatever the text holds
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _has_distinct(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return not (pa.types.is_nested(kind) or pa.types.is_null(kind) or pa.types.is_dictionary(kind))


def _whole(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    if not isinstance(array, pa.ChunkedArray):
        return array
    return pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)


# ---------------------------------------------------------------- reading


class _Reader:
    """One expression on its way to a tree."""

    def __init__(self, text: str, columns: Collection[str] | Mapping[str, str]) -> None:
        self.text = " ".join(text.split("\n")).strip()
        self._columns = list(columns)
        self._kinds = dict(columns) if isinstance(columns, Mapping) else {}

    def read(self) -> Predicate:
        if not self.text:
            raise ExpressionError("an empty expression asks nothing; write one such as: method == 'lora'")
        if len(self.text) > LONGEST:
            raise ExpressionError(
                f"an expression may have {LONGEST:,} characters at most; this one has {len(self.text):,}"
            )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of escapes in text, for instance: \d is what it is
                body = ast.parse(self.text, mode="eval").body
        except SyntaxError as error:
            self._explain(error)
        except (ValueError, MemoryError, RecursionError):
            raise ExpressionError(f"this cannot be read: {self.text[:60]}") from None
        return self._predicate(body, 0)

    # ------------------------------------------------ predicates

    def _predicate(self, node: ast.expr, depth: int) -> Predicate:
        if depth > DEEPEST:
            self._refuse(node, f"this is nested more than {DEEPEST} levels deep")
        if isinstance(node, ast.BoolOp):
            parts = tuple(self._predicate(part, depth + 1) for part in node.values)
            return Junction(isinstance(node.op, ast.And), parts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return Not(self._predicate(node.operand, depth + 1))
        if isinstance(node, ast.Compare):
            return self._comparison(node, depth)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "like":
            return self._like(node)
        return self._truth(node, depth)

    def _truth(self, node: ast.expr, depth: int) -> Predicate:
        value = self._value(node, depth)
        kind = self._kind_of(value)
        if value is None or (kind is not None and kind != "truth"):
            self._refuse(
                node, "this says nothing by itself; compare it with something, such as: == 'lora', < 3, is None"
            )
        return Truth(value)

    def _comparison(self, node: ast.Compare, depth: int) -> Predicate:
        parts: list[Predicate] = []
        left_node = node.left
        for sign, right_node in zip(node.ops, node.comparators, strict=True):
            parts.append(self._pair(sign, left_node, right_node, depth))
            left_node = right_node
        return parts[0] if len(parts) == 1 else Junction(every=True, parts=tuple(parts))

    def _pair(self, sign: ast.cmpop, left_node: ast.expr, right_node: ast.expr, depth: int) -> Predicate:
        left = self._value(left_node, depth)
        if isinstance(sign, ast.In | ast.NotIn):
            found: Predicate = self._within(left_node, left, right_node, depth)
            return Not(found) if isinstance(sign, ast.NotIn) else found
        equality = isinstance(sign, ast.Eq | ast.NotEq)
        right = self._value(right_node, depth, words=equality)
        if equality:
            self._check_word(right_node, left, right)
        if isinstance(sign, ast.Is | ast.IsNot) and right is not None:
            self._refuse(right_node, "only None can be asked for with 'is'; write == for everything else")
        if right is None or left is None:
            field = left if right is None else right
            if not (equality or isinstance(sign, ast.Is | ast.IsNot)):
                self._refuse(
                    right_node if right is None else left_node, "None is unknown, and has no order; write: is None"
                )
            if not isinstance(field, Field):
                self._refuse(left_node, "only a column can be None")
            null = IsNull(field)
            return Not(null) if isinstance(sign, ast.NotEq | ast.IsNot) else null
        written = "==" if isinstance(sign, ast.Eq) else "!=" if isinstance(sign, ast.NotEq) else _ORDER[type(sign)][0]
        self._check_kinds(right_node, left, right, ordered=not equality)
        return Compare(written, left, right)

    def _within(self, left_node: ast.expr, left: Value | None, node: ast.expr, depth: int) -> Within:
        if left is None:
            self._refuse(left_node, "None is unknown; write: is None")
        if not isinstance(node, ast.Tuple | ast.List | ast.Set):
            self._refuse(node, "right of 'in' stands a list, such as: in (4, 8) or in ('lora', 'pissa')")
        options = []
        for each in node.elts:
            option = self._value(each, depth, words=True)
            self._check_word(each, left, option)
            if option is None:
                self._refuse(each, "None is equal to nothing; write: ... or COLUMN is None")
            self._check_kinds(each, left, option, ordered=False)
            options.append(option)
        return Within(left, tuple(options))

    def _like(self, node: ast.Call) -> Like:
        said = "like takes a column and a pattern in quotes: like(method, 'nugg*')"
        if len(node.args) != 2 or node.keywords:
            self._refuse(node, said)
        value = self._value(node.args[0], 0)
        pattern = node.args[1]
        if not isinstance(value, Field) or value.sign < 0 or self._kind_of(value) not in {None, "text"}:
            self._refuse(node.args[0], f"{said}; this is no column of text")
        if not (isinstance(pattern, ast.Constant) and isinstance(pattern.value, str)):
            self._refuse(pattern, f"{said}; this is no text in quotes")
        return Like(value, pattern.value)

    # ------------------------------------------------ values

    def _value(self, node: ast.expr, depth: int, *, words: bool = False) -> Value | None:
        """A column, a literal, or None for None; with `words` a word that is no column is text."""
        if isinstance(node, ast.Constant):
            return self._literal(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            return self._signed(node, depth)
        if isinstance(node, ast.Name | ast.Attribute):
            return self._named(node, words=words)
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id == "column":
                return self._column_call(node)
            self._refuse(node, "only like(column, pattern) and column('name') can be called")
        if isinstance(node, ast.BinOp):
            self._refuse_sum(node)
        return self._refuse(node, "this is no column, number or text in quotes")

    def _literal(self, node: ast.Constant) -> Value | None:
        value = node.value
        if value is None:
            return None
        if not isinstance(value, bool | int | float | str):
            self._refuse(node, "values are numbers, text in quotes, True, False and None")
        return Literal(value)

    def _signed(self, node: ast.UnaryOp, depth: int) -> Value:
        if depth > DEEPEST:
            self._refuse(node, f"this is nested more than {DEEPEST} levels deep")
        value = self._value(node.operand, depth + 1)
        if value is None or self._kind_of(value) not in {None, "number"}:
            self._refuse(node, "only a number has a sign")
        if isinstance(node.op, ast.UAdd):
            return value
        if isinstance(value, Field):
            return Field(value.column, value.path, -value.sign)
        return Literal(-value.value) if isinstance(value.value, int | float) else value

    def _column_call(self, node: ast.Call) -> Field:
        name = node.args[0] if len(node.args) == 1 and not node.keywords else None
        if not (isinstance(name, ast.Constant) and isinstance(name.value, str)):
            self._refuse(node, "column takes one name in quotes: column('mmlu-pro')")
        if name.value not in self._columns:
            self._refuse_column(node, name.value)
        return Field(name.value)

    def _named(self, node: ast.Name | ast.Attribute, *, words: bool) -> Value:
        path: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            path.insert(0, inner.attr)
            if len(path) > DEEPEST:
                self._refuse(node, f"this is nested more than {DEEPEST} levels deep")
            inner = inner.value
        whole = ".".join(([inner.id] if isinstance(inner, ast.Name) else []) + path)
        if isinstance(inner, ast.Name) and whole in self._columns:
            return Field(whole)
        if isinstance(inner, ast.Name) and inner.id in self._columns:
            if self._kinds.get(inner.id, "string") != "string":
                self._refuse(node, f"'{inner.id}' is {_KINDS[self._kinds[inner.id]]} and has no fields")
            return Field(inner.id, tuple(path))
        if not isinstance(inner, ast.Name):
            self._refuse(node, "this is no column, number or text in quotes")
        if whole in _PYTHON_WORDS:
            self._refuse(node, f"write {_PYTHON_WORDS[whole]}, or '{whole}' for the text")
        if words and not path:
            return Literal(whole)
        return self._refuse_column(node, whole)

    # ------------------------------------------------ kinds

    def _kind_of(self, value: Value | None) -> str | None:
        """number, text, truth, time; None where it is not known before a row is seen."""
        if value is None:
            return None
        if isinstance(value, Literal):
            return _kind(value.value)
        if value.path or value.column not in self._kinds:
            return None
        return {"string": "text", "int": "number", "float": "number", "bool": "truth"}.get(
            self._kinds[value.column], "time"
        )

    def _check_kinds(self, node: ast.expr, left: Value, right: Value, *, ordered: bool) -> None:
        ours, theirs = self._kind_of(left), self._kind_of(right)
        if {ours, theirs} == {"time", "text"}:
            literal = left if isinstance(left, Literal) else right
            if isinstance(literal, Literal) and moment(str(literal.value)) is None:
                self._refuse(
                    node, f"'{literal.value}' is no time; write one such as '2026-01-31' or '2026-01-31 18:00'"
                )
            return
        if ours is not None and theirs is not None and ours != theirs:
            said = f"{self._described(left)}, and {self._described(right)}: they can never be equal"
            if isinstance(right, Literal) and isinstance(node, ast.Name):
                near = difflib.get_close_matches(node.id, self._columns, n=1, cutoff=0.6)
                said += f". Did you mean the column '{near[0]}'?" if near else ""
            self._refuse(node, said)
        if ordered and "truth" in {ours, theirs}:
            self._refuse(node, "True and False have no order; write == or !=")

    def _check_word(self, node: ast.expr, left: Value | None, right: Value | None) -> None:
        """Refuses a word that may well be meant as text and is a column too: `method != student`."""
        ours, theirs = self._kind_of(left), self._kind_of(right)
        beside_text = ours == "text" and theirs is not None
        if isinstance(node, ast.Name) and isinstance(right, Field) and (beside_text or (not ours and theirs == "text")):
            word = node.id
            self._refuse(node, f"write '{word}' for the text, or column('{word}') for the column of that name")

    def _described(self, value: Value) -> str:
        if isinstance(value, Literal):
            return f"{value.value!r} is {_WORDS[_kind(value.value)]}"
        return f"'{value.column}' is {_KINDS[self._kinds[value.column]]}"

    # ------------------------------------------------ complaints

    def _refuse(self, node: ast.expr, said: str, more: str = "") -> NoReturn:
        # ast counts bytes
        self._refuse_at(len(self.text.encode()[: node.col_offset].decode(errors="ignore")), said, more)

    def _refuse_at(self, column: int, said: str, more: str = "") -> NoReturn:
        # of a long text the part around the place
        start = max(0, column - 60)
        shown = self.text[start : column + 60]
        raise ExpressionError(f"{said}\n  {shown}\n  {' ' * (column - start)}^" + (f"\n  {more}" if more else ""))

    def _refuse_column(self, node: ast.expr, name: str) -> NoReturn:
        near = difflib.get_close_matches(name, self._columns, n=1, cutoff=0.6)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        self._refuse(node, f"no column is called '{name}'.{hint}", f"Columns: {', '.join(self._columns)}")

    def _refuse_sum(self, node: ast.BinOp) -> NoReturn:
        if isinstance(node.op, ast.BitAnd | ast.BitOr):
            self._refuse(node, f"write {'and' if isinstance(node.op, ast.BitAnd) else 'or'} between two conditions")
        words = ast.get_source_segment(self.text, node) or ""
        if re.fullmatch(r"[\w.]+(-[\w.]+)+", words):
            said = f"{words} is text only in quotes: write '{words}'"
            if words in self._columns:
                said = f"{words} is a column only as column('{words}')"
            self._refuse(node, said)
        self._refuse(node, "nothing is calculated here; compare columns with numbers, text or each other")

    def _explain(self, error: SyntaxError) -> NoReturn:
        """Says what is wrong with the words of an expression, the usual slips first."""
        for token in self._tokens():
            written = token.string
            if written in _INSTEAD and written not in {"&", "|"}:
                self._refuse_at(token.start[1], f"write {_INSTEAD[written]} instead of {written}")
            if written in {"AND", "OR", "NOT", "IN", "IS"}:
                self._refuse_at(token.start[1], f"write {written.lower()} instead of {written}")
            if written == ":":
                self._refuse_at(token.start[1], "text with a colon needs quotes, such as 'nuggets:noise-spectrum'")
        # the offset is 0 where more was expected and nothing came
        column = min(error.offset - 1, len(self.text)) if error.offset else len(self.text)
        said = (error.msg or "it makes no sense").removeprefix("invalid syntax. ").removesuffix("?")
        plain = "this is where it stops making sense" if "invalid syntax" in said else said
        self._refuse_at(column, plain, "Write conditions such as: method == 'lora' and seed < 3")

    def _tokens(self) -> Iterator[tokenize.TokenInfo]:
        found: list[tokenize.TokenInfo] = []
        with contextlib.suppress(tokenize.TokenError, SyntaxError):  # what came before the broken place will do
            found.extend(tokenize.generate_tokens(StringIO(self.text).readline))
        previous: tokenize.TokenInfo | None = None
        for token in found:
            if previous and previous.end == token.start and previous.string == token.string and token.string in "&|":
                yield token._replace(string=token.string * 2, start=previous.start)
            elif token.string == "=" or token.type in {tokenize.OP, tokenize.NAME, tokenize.ERRORTOKEN}:
                yield token
            previous = token


_WORDS = {"truth": "True or False", "number": "a number", "text": "text", "null": "None", "time": "a time"}
