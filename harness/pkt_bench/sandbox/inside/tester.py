"""The tests' side of a trial by test program: runs the tests, in which the candidate's names are proxies.

The tests see the names they would see if they ran after the candidate's program: their own, the prelude's (the code of
the prompt, run here), the builtins, and for what is left those of the candidate, asked for when needed. A name that
stands for a module or an exception there stands for the real module, or an exception class made here.
"""

from __future__ import annotations

import _thread
import builtins
import os
import sys

from . import crossing, frames, naming, remote, values

TYPE_CHECKING = False  # typing.TYPE_CHECKING without importing typing, which costs every child 9 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

_FILE = "<tests>"
_MODULE = "tests"
_SYNTAX_TREE_ONLY = 0x400  # ast.PyCF_ONLY_AST, without importing ast
_SHOWN_CHARACTERS = 120
_MESSAGE_CHARACTERS = 300
_LONGEST_NAMES = 20

Verdict = tuple[str, str]
"""(reason, detail)"""


class BrokenTestsError(Exception):
    """The tests or the prelude themselves are at fault; one line."""


class Names(dict):  # type: ignore[type-arg]
    """The tests' global names; those they miss are looked up on the candidate's side."""

    def __init__(self, find: Callable[[str], Any]) -> None:
        super().__init__(__name__=_MODULE, __builtins__=builtins)
        self._find = find

    def __missing__(self, name: str) -> Any:  # noqa: ANN401 any value
        if hasattr(builtins, name) or (name.startswith("__") and name.endswith("__")):
            raise KeyError(name)
        value = self[name] = self._find(name)
        return value


class Tester:
    """One run of one test program; the `Link` of all its proxies.

    `exchange` takes a request to the candidate's side and brings the answer; `stop` ends this process with a verdict,
    whatever the tests would make of an exception.
    """

    def __init__(self, exchange: Callable[[bytes], bytes], stop: Callable[[str, str], NoReturn]) -> None:
        self._exchange = exchange
        self._stop = stop
        self._names = Names(self._named)
        self._entry_points: tuple[str, ...] = ()
        self._lines: list[str] = []
        self._exceptions: dict[str, type[BaseException]] = {}
        self._raised_there: list[BaseException] = []
        self._last_answer: Any = _NOTHING
        self.turn = _thread.allocate_lock()  # the tests may have threads
        self.questions = 0
        """How often an answer of an entry point was asked for."""

    def prepare(self, prelude: str, tests: str, entry_points: tuple[str, ...]) -> Any:  # noqa: ANN401 a code object
        """Compile the tests, run the prelude, find out what is under test. Raises BrokenTestsError."""
        try:
            tree = compile(tests, _FILE, "exec", _SYNTAX_TREE_ONLY, dont_inherit=True)
            code = compile(tests, _FILE, "exec", dont_inherit=True)
        except Exception as error:  # noqa: BLE001 SyntaxError, ValueError, RecursionError, MemoryError
            raise BrokenTestsError(f"the tests do not compile: {_said(error)}") from None
        try:
            self._run_prelude(prelude)
        except BaseException as error:  # noqa: BLE001 SystemExit too
            raise BrokenTestsError(f"the prelude does not run: {_said(error)}") from None
        self._lines = tests.splitlines()
        self._entry_points = entry_points or naming.entry_points(tree, set(self._names))
        if not self._entry_points:
            raise BrokenTestsError("the tests call nothing but what they define themselves: entry_point is needed")
        return code

    def _run_prelude(self, prelude: str) -> None:
        try:
            code = compile(prelude, "<prelude>", "exec", dont_inherit=True)
        except SyntaxError:
            code = compile(prelude + "\n    pass\n", "<prelude>", "exec", dont_inherit=True)  # a head without its body
        exec(code, self._names)  # noqa: S102 what this process is for
        for name, value in list(self._names.items()):
            if isinstance(value, type) and value.__module__ == _MODULE and not issubclass(value, BaseException):
                del self._names[name]  # its objects have to be the candidate's

    def run(self, code: Any, *, callable_only: bool) -> Verdict:  # noqa: ANN401 a code object
        """Run the prepared tests to their end."""
        for name in self._entry_points:
            try:
                self._names[name] = entry = self.ask("entry", (name,), {}, keep=False)
            except NameError:
                return "no-function", f"the program leaves nothing under the name {name!r}"
            if not isinstance(entry, remote.Remote):
                if callable_only:
                    return "no-function", f"the program leaves a {type(entry).__name__} under the name {name!r}"
                self.questions += 1
        try:
            exec(code, self._names)  # noqa: S102 what this process is for
        except BaseException as error:  # noqa: BLE001 SystemExit too is an end
            there = any(each is error for each in self._raised_there)
            if isinstance(error, AssertionError) and not there:
                return "wrong-answer", f"{self._place(error.__traceback__)}{_after(self._last_answer)}"
            said = f"{self._place(error.__traceback__)}: {_said(error)}{'' if there else _after(self._last_answer)}"
            return ("memory" if isinstance(error, MemoryError) else "exception"), said
        return "passed", ""

    def ask(self, doing: str, operands: tuple[Any, ...], keywords: dict[str, Any], *, keep: bool) -> Any:  # noqa: ANN401 any value
        """Have the candidate's side do something. Raises what was raised there."""
        if not keep and doing != "entry":
            self.questions += 1
        writer = crossing.Writer(values.MAX_BYTES, [], self._described, library=True)
        try:
            request = writer.bytes_of((doing, operands, keywords, keep))
        except values.UnsendableError as error:
            self.unsplit(f"an argument cannot be sent to the candidate: {error}")
        with self.turn:
            answer = self._exchange(request)
        reader = crossing.Reader(writer.containers, lambda found: remote.proxy(self, found, opaque=keep))
        try:
            kind, *rest = reader.value_of(answer)
            if doing == "name" and kind in _STANDING_FOR:
                value, raised = self._stood_for(operands[0], kind, rest[0]), None
            else:
                value, raised = self._understood(kind, rest, writer.containers, keep=keep)
        except MemoryError:
            self._stop("memory", "the answer does not fit beside the tests")
        except Exception as error:  # noqa: BLE001 a hostile answer may have any shape
            self._stop("forged", f"bytes that are no answer: {_said(error)}")
        if raised is not None:
            raise raised
        if not keep:
            self._last_answer = value
        return value

    def unsplit(self, why: str) -> NoReturn:
        """End the trial: the tests need what cannot be had in two processes."""
        frame = sys._getframe()  # noqa: SLF001 as traceback does
        at = ""
        while frame is not None:
            if frame.f_code.co_filename == _FILE:
                at = f"{self._line(frame.f_lineno)}: "
                break
            frame = frame.f_back  # type: ignore[assignment]
        self._stop("unsplit", at + why)

    def _named(self, name: str) -> Any:  # noqa: ANN401 any value
        try:
            return self.ask("name", (name,), {}, keep=True)
        except NameError:
            raise NameError(f"name {name!r} is not defined") from None

    def _described(self, value: Any) -> crossing.Described:  # noqa: ANN401 any object of the tests
        if issubclass(type(value), remote.Remote):
            return crossing.Described(remote.number_of(value), "", 0)
        raise values.UnsendableError(f"a {type(value).__name__} of the tests' own is not a plain value")

    def _understood(
        self, kind: str, rest: list[Any], sent: list[Any], *, keep: bool
    ) -> tuple[Any, BaseException | None]:
        """What an answer says: a value, or an exception to be raised here."""
        if kind == "value":
            value, changed = rest
            _change(sent, changed)
            if keep and not isinstance(value, remote.Remote):
                raise values.MalformedError("a value where only an object was asked for")
            return value, None
        if kind == "raised":
            names, arguments, changed = rest
            _change(sent, changed)
            error = _made(self._exception(names), arguments)
            self._raised_there.append(error)
            return None, error
        if kind == "refused":
            self.unsplit(f"the answer cannot be sent: {str(rest[0])[:_MESSAGE_CHARACTERS]}")
        raise values.MalformedError(f"an answer of the unknown kind {kind!r}")

    def _stood_for(self, name: str, kind: str, said: Any) -> Any:  # noqa: ANN401 any value
        """The module, function or class that a name stands for over there, here."""
        if kind == "exception":
            return self._exception(said)
        # Under its own name only: math.hypot in place of a missing is_close would be true of everything.
        if str(said).replace(":", ".").rpartition(".")[2] != name:
            self.unsplit(f"{name!r}, which the program has {said!r} for")
        return _module(str(said)) if kind == "module" else crossing.value_named(str(said), library=True)

    def _exception(self, names: tuple[str, ...]) -> type[BaseException]:
        """The class for `module:name` of a class and of its bases, most special first."""
        if not names or len(names) > _LONGEST_NAMES:
            raise values.MalformedError("an exception without a known base")
        module, _, name = names[0].rpartition(":")
        try:
            found: Any = crossing.value_named(names[0], library=True)
        except values.MalformedError:
            found = dict.get(self._names, name) or self._exceptions.get(names[0])
        if isinstance(found, type) and issubclass(found, BaseException):
            return found
        made = type(name.replace("\0", "?") or "Exception", (self._exception(names[1:]),), {"__module__": module})
        self._exceptions[names[0]] = made
        return made

    def _place(self, trace: Any) -> str:  # noqa: ANN401 a traceback
        number = None
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == _FILE:
                number = trace.tb_lineno
            trace = trace.tb_next
        return self._line(number) if number else "the tests"

    def _line(self, number: int) -> str:
        text = self._lines[number - 1].strip() if number <= len(self._lines) else ""
        return f"line {number} of the tests ({text[:_SHOWN_CHARACTERS]})"


_NOTHING = object()
_STANDING_FOR = frozenset({"module", "library", "exception"})


def _change(sent: list[Any], changed: dict[int, tuple[Any, ...]]) -> None:
    """Let the lists, dicts and sets that were sent hold what they hold on the other side."""
    for place, contents in changed.items():
        container = sent[place]
        if not isinstance(contents, tuple):
            raise values.MalformedError("contents that are no tuple")
        if isinstance(container, list):
            list.__setitem__(container, slice(None), contents)
        elif isinstance(container, float):
            raise values.MalformedError("contents of a nan")
        elif isinstance(container, dict):
            new = dict(contents)
            dict.clear(container)
            dict.update(container, new)
        else:
            new_members = set(contents)
            set.clear(container)
            set.update(container, new_members)


def _made(kind: type[BaseException], arguments: tuple[Any, ...]) -> BaseException:
    try:
        return kind(*arguments)
    except Exception:  # noqa: BLE001 a constructor that wants other arguments than it keeps
        error = kind.__new__(kind)
        error.args = tuple(arguments)
        return error


def _module(name: str) -> Any:  # noqa: ANN401 a module
    if name.partition(".")[0] not in sys.stdlib_module_names:
        raise values.MalformedError(f"a module {name!r} that is not of the standard library")
    __import__(name)
    return sys.modules[name]


def _said(error: BaseException) -> str:
    try:
        message = str(error)
    except BaseException:  # noqa: BLE001 an __str__ of the tests' own
        message = ""
    return f"{type(error).__name__}: {message}"[:_MESSAGE_CHARACTERS]


def _after(answer: Any) -> str:  # noqa: ANN401 any value
    if answer is _NOTHING:
        return ""
    try:
        values.encode(answer, 4096)  # a repr of plain values asks nobody and is not long
        shown = repr(answer)
    except ValueError:  # UnsendableError, or an int of more digits than Python prints
        shown = f"a {type(answer).__name__}"
    return f"; the last answer was {shown[:_SHOWN_CHARACTERS]}"


def run(
    nonce: bytes,
    given: tuple[str, str, tuple[str, ...]],
    receive: Callable[[], tuple[bytes, bytes]],
    send: Callable[[bytes, bytes, bytes], None],
) -> NoReturn:
    """Prepare (prelude, tests, entry points), wait for the word to begin, run, say the verdict. Ends this process."""
    prelude, tests, entry_points = given

    def stop(reason: str, detail: str) -> NoReturn:
        tester.turn.acquire()  # a thread of the tests may be waiting for an answer
        send(nonce, frames.VERDICT, values.encode((reason, detail, tester.questions)))
        os._exit(0)

    def exchange(request: bytes) -> bytes:
        nonlocal nonce
        send(nonce, frames.ASK, request)
        nonce, answer = receive()
        return answer

    tester = Tester(exchange, stop)
    try:
        code = tester.prepare(prelude, tests, entry_points)
    except BrokenTestsError as error:
        stop("broken-tests", str(error))
    send(nonce, frames.LOADED, b"")
    nonce, _ = receive()
    stop(*tester.run(code, callable_only=bool(entry_points)))
