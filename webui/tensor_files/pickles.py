"""Pickles read by a small machine of our own, which can call nothing.

A pickle is a program: opened the usual way it may ask Python to call any function. Here each
operation is followed on a stack of plain values. What it asks for by name is handed to ``find``,
which knows a few inert stand-ins and refuses everything else, so there is nothing that could be
run. What could take for ever or grow is refused before it is made: tuples within tuples as keys,
which take for ever to hash, long texts and numbers, and more operations than a file needs.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

DEEPEST_TUPLE = 4
"""Tuples may lie within one another so often; torch's own go 2 deep."""
LONGEST_ARGUMENT = 64 << 10
"""Characters or bytes of a single text."""
LONGEST_NUMBER = 256
"""Bits of a whole number; the mark of torch's old files has 77."""
DAMAGE = (ValueError, IndexError, KeyError, TypeError, struct.error, AttributeError)
"""What is raised for bytes that are no whole pickle."""


class TooMuch(Exception):
    """A pickle with more in it, or otherwise built, than weights need."""


@dataclass(frozen=True, eq=False)
class Known:
    """What a pickle has asked for by name, and what is done in its place."""

    call: Callable[..., Any]
    name: str = ""


class Inert:
    """Stands in for types that are of no use here: takes anything, keeps and does nothing."""

    def __init__(self, *_: Any) -> None:
        pass

    def take_state(self, state: Any) -> None:
        """Take what the object was made of; nothing of it is kept."""


class _Tuple(tuple[Any, ...]):
    """A tuple that knows how many lie within one another."""

    depth = 1


_MARK = object()
_VALUES = {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING"}
_VALUES |= {"SHORT_BINSTRING", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"}
_VALUES |= {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "FLOAT", "BINFLOAT"}


def read_pickle(
    stream: BinaryIO,
    most_operations: int,
    find: Callable[[str, str], Known],
    persistent: Callable[[Any], Any] = lambda key: None,
    longest: int = LONGEST_ARGUMENT,
) -> Any:
    """Read the next pickle of a stream and return what it makes.

    ``find`` is told each module and name that the pickle asks for; ``persistent`` gives what lies
    outside of it, by its key. Raises TooMuch, one of DAMAGE for what is no whole pickle, and
    whatever the two raise. ``longest`` is that of a text, in characters.
    """
    machine = _Machine(find, persistent, longest)
    for _ in range(most_operations + 1):
        code = stream.read(1)
        argument, follow = _OPERATIONS[code]
        follow(machine, argument and argument(stream))
        if code == b".":
            return machine.stack[-1]
    raise TooMuch


class _Machine:
    """Follows a pickle's operations on a stack of plain values."""

    def __init__(
        self,
        find: Callable[[str, str], Known],
        persistent: Callable[[Any], Any],
        longest: int,
    ) -> None:
        self._find, self._persistent, self._longest = find, persistent, longest
        self._memo: dict[int, Any] = {}
        self.stack: list[Any] = []

    def _value(self, value: Any) -> None:
        if isinstance(value, int):
            if value.bit_length() > LONGEST_NUMBER:
                raise TooMuch
        elif not isinstance(value, float) and len(value) > self._longest:
            raise TooMuch
        self.stack.append(value)

    def _refuse(self, _: Any) -> None:
        """Refuse what is not in files of torch, such as BYTEARRAY8, EXT1 or OBJ."""
        raise TooMuch

    def _idle(self, _: Any) -> None:
        pass

    _proto = _frame = _stop = _idle

    def _none(self, _: Any) -> None:
        self.stack.append(None)

    def _newtrue(self, _: Any) -> None:
        self.stack.append(True)

    def _newfalse(self, _: Any) -> None:
        self.stack.append(False)

    def _pop_many(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise IndexError("the stack is empty")
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def _after_mark(self) -> list[Any]:
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is _MARK:
                items = self.stack[place + 1 :]
                del self.stack[place:]
                return items
        raise IndexError("there is no mark")

    def _mark(self, _: Any) -> None:
        self.stack.append(_MARK)

    def _tuple(self, _: Any) -> None:
        self.stack.append(_tuple(self._after_mark()))

    def _empty_tuple(self, _: Any) -> None:
        self.stack.append(_tuple([]))

    def _tuple1(self, _: Any) -> None:
        self.stack.append(_tuple(self._pop_many(1)))

    def _tuple2(self, _: Any) -> None:
        self.stack.append(_tuple(self._pop_many(2)))

    def _tuple3(self, _: Any) -> None:
        self.stack.append(_tuple(self._pop_many(3)))

    def _empty_list(self, _: Any) -> None:
        self.stack.append([])

    def _list(self, _: Any) -> None:
        self.stack.append(self._after_mark())

    def _append(self, _: Any) -> None:
        self._add(self._pop_many(1))

    def _appends(self, _: Any) -> None:
        self._add(self._after_mark())

    def _add(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)

    def _empty_dict(self, _: Any) -> None:
        self.stack.append({})

    def _dict(self, _: Any) -> None:
        items = self._after_mark()
        self.stack.append({})
        self._set(items)

    def _setitem(self, _: Any) -> None:
        self._set(self._pop_many(2))

    def _setitems(self, _: Any) -> None:
        self._set(self._after_mark())

    def _set(self, items: list[Any]) -> None:
        check_keys(items[::2])
        if isinstance(self.stack[-1], dict):
            self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def _empty_set(self, _: Any) -> None:
        self.stack.append(Inert())

    def _additems(self, _: Any) -> None:
        check_keys(self._after_mark())

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self.stack.append(self._find(module[:80], name[:80]))

    def _stack_global(self, _: Any) -> None:
        module, name = self._pop_many(2)
        if not isinstance(module, str) or not isinstance(name, str):
            module, name = "an unknown module", "unknown"
        self._global(f"{module} {name}")

    def _inst(self, argument: str) -> None:
        given = self._after_mark()
        self._global(argument)
        self.stack.append(self.stack.pop().call(*given))

    def _reduce(self, _: Any) -> None:
        called, given = self._pop_many(2)
        if not isinstance(called, Known) or not isinstance(given, tuple):
            raise TooMuch
        self.stack.append(called.call(*given))

    _newobj = _reduce

    def _build(self, _: Any) -> None:
        [state] = self._pop_many(1)
        if isinstance(self.stack[-1], Inert):
            self.stack[-1].take_state(state)

    def _persid(self, argument: str) -> None:
        self.stack.append(self._persistent(argument))

    def _binpersid(self, _: Any) -> None:
        self.stack.append(self._persistent(*self._pop_many(1)))

    def _pop(self, _: Any) -> None:
        self._pop_many(1)

    def _pop_mark(self, _: Any) -> None:
        self._after_mark()

    def _dup(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def _put(self, argument: int) -> None:
        self._memo[argument] = self.stack[-1]

    _binput = _long_binput = _put

    def _memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self.stack[-1]

    def _get(self, argument: int) -> None:
        self.stack.append(self._memo[argument])

    _binget = _long_binget = _get


def check_keys(keys: Iterable[Any]) -> None:
    """Raise TooMuch for keys other than text, whole numbers and types: they can be slow to hash."""
    if any(type(key) not in (str, int, Known) for key in keys):
        raise TooMuch


def _tuple(items: list[Any]) -> _Tuple:
    made = _Tuple(items)
    made.depth = 1 + max((item.depth for item in items if isinstance(item, _Tuple)), default=0)
    if made.depth > DEEPEST_TUPLE:
        raise TooMuch
    return made


def _follower(name: str) -> Callable[[_Machine, Any], None]:
    """Return what follows the operations of a name."""
    follow: Callable[[_Machine, Any], None] = getattr(
        _Machine, f"_{name.lower()}", _Machine._refuse
    )
    return _Machine._value if name in _VALUES else follow


_OPERATIONS = {
    operation.code.encode("latin-1"): (
        operation.arg and operation.arg.reader,
        _follower(operation.name),
    )
    for operation in pickletools.opcodes
}
"""By its code, what reads an operation's argument, if it has one, and what follows it."""
