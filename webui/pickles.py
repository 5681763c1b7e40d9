"""Looks through a pickle without opening it: what it asks for, and that nothing in it can grow.

The operations are followed on a stack of their own that knows only what kind of thing each value
is. So tuples within tuples, which take for ever to hash, and texts that are encoded again and
again, each time twice as long, are seen before anything is made of them.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

DEEPEST_TUPLE = 4
"""Tuples may lie within one another so often; torch's own go 2 deep."""
LONGEST_ARGUMENT = 64 << 10
"""Characters or bytes of a single text."""
DAMAGE = (ValueError, IndexError, KeyError, struct.error, AttributeError)
"""What is raised for bytes that are no whole pickle."""
_PLAIN_TEXTS = ("latin1", "latin-1")


class TooMuch(Exception):
    """A pickle with more in it, or otherwise built, than weights need."""


@dataclass(eq=False)
class _Value:
    """What is known of a value on the stack."""

    kind: str
    """text, number, bytes, tuple, list, dict, global, mark or other."""
    items: list[_Value] = field(default_factory=list)
    """Of a tuple or a list."""
    text: Any = None
    """Of a text, or the name of a global."""
    depth: int = 0
    """Of a tuple: how many lie within one another."""


_TEXTS = {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_TEXTS |= {"STRING", "BINSTRING", "SHORT_BINSTRING"}
_NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"}
_BYTES = {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
_OTHERS = {"NONE", "NEWTRUE", "NEWFALSE", "FLOAT", "BINFLOAT"}
_OTHERS |= {"PERSID"}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_IDLE = {"PROTO", "FRAME", "STOP"}


def look_through(
    stream: BinaryIO,
    most_operations: int,
    asked: Callable[[str, str], None],
    longest: int = LONGEST_ARGUMENT,
) -> list[Any]:
    """Look through the next pickle of a stream; return the arguments of its operations.

    ``asked`` hears of each module and name that the pickle asks for, and may raise. Raises TooMuch,
    or one of DAMAGE for what is no whole pickle. ``longest`` is that of a text, in characters.
    """
    looker = _Looker(asked)
    arguments: list[Any] = []
    for number, (operation, argument, _) in enumerate(pickletools.genops(stream)):
        long = isinstance(argument, (str, bytes)) and len(argument) > longest
        if number > most_operations or long:
            raise TooMuch
        arguments.append(argument)
        looker.take(operation.name, argument)
    return arguments


class _Looker:
    """Follows a pickle's operations on a stack of kinds."""

    def __init__(self, asked: Callable[[str, str], None]) -> None:
        self._asked = asked
        self._stack: list[_Value] = []
        self._memo: dict[int, _Value] = {}

    def take(self, name: str, argument: Any) -> None:
        """Follow one operation."""
        if name in _TEXTS:
            self._push(_Value("text", text=argument))
        elif name in _NUMBERS:
            self._push(_Value("number"))
        elif name in _BYTES:
            self._push(_Value("bytes"))
        elif name in _OTHERS:
            self._push(_Value("other"))
        elif name in _TUPLES:
            self._push(_tuple(self._pop_many(_TUPLES[name])))
        elif name not in _IDLE:
            follow = getattr(self, f"_{name.lower()}", None)
            if follow is None:  # BYTEARRAY8, EXT1, OBJ, …: not in files of torch
                raise TooMuch
            follow(argument)

    def _push(self, value: _Value) -> None:
        self._stack.append(value)

    def _pop_many(self, count: int) -> list[_Value]:
        if count > len(self._stack):
            raise IndexError("the stack is empty")
        items = self._stack[len(self._stack) - count :]
        del self._stack[len(self._stack) - count :]
        return items

    def _after_mark(self) -> list[_Value]:
        for place in range(len(self._stack) - 1, -1, -1):
            if self._stack[place].kind == "mark":
                items = self._stack[place + 1 :]
                del self._stack[place:]
                return items
        raise IndexError("there is no mark")

    def _mark(self, _: Any) -> None:
        self._push(_Value("mark"))

    def _tuple(self, _: Any) -> None:
        self._push(_tuple(self._after_mark()))

    def _empty_list(self, _: Any) -> None:
        self._push(_Value("list"))

    def _list(self, _: Any) -> None:
        self._push(_Value("list", self._after_mark()))

    def _append(self, _: Any) -> None:
        self._add_items(self._pop_many(1))

    def _appends(self, _: Any) -> None:
        self._add_items(self._after_mark())

    def _add_items(self, items: list[_Value]) -> None:
        self._stack[-1].items.extend(items)

    def _empty_dict(self, _: Any) -> None:
        self._push(_Value("dict"))

    def _dict(self, _: Any) -> None:
        _check_keys(self._after_mark()[::2])
        self._push(_Value("dict"))

    def _setitem(self, _: Any) -> None:
        _check_keys(self._pop_many(2)[:1])

    def _setitems(self, _: Any) -> None:
        _check_keys(self._after_mark()[::2])

    def _empty_set(self, _: Any) -> None:
        self._push(_Value("other"))

    def _additems(self, _: Any) -> None:
        _check_keys(self._after_mark())

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._ask(module, name)

    def _stack_global(self, _: Any) -> None:
        module, name = (value.text for value in self._pop_many(2))
        known = isinstance(module, str) and isinstance(name, str)
        self._ask(*((module, name) if known else ("an unknown module", "unknown")))

    def _inst(self, argument: str) -> None:
        self._after_mark()
        self._global(argument)

    def _ask(self, module: str, name: str) -> None:
        self._asked(module[:80], name[:80])
        self._push(_Value("global", text=f"{module} {name}"))

    def _reduce(self, _: Any) -> None:
        """Follow a call; those that take what they are given further are looked at."""
        called, given = self._pop_many(2)
        if called.kind != "global" or given.kind != "tuple" or called.text in _GROW:
            raise TooMuch
        if called.text == "_codecs encode":
            texts = [value.text for value in given.items]
            if len(texts) != 2 or given.items[0].kind != "text" or texts[1] not in _PLAIN_TEXTS:
                raise TooMuch
            self._push(_Value("bytes"))
            return
        for collection in given.items if called.text in _COLLECTIONS else ():
            if collection.kind not in ("list", "tuple"):
                raise TooMuch
            pairs = called.text == "collections OrderedDict"
            keys = (item.items[:1] if pairs else [item] for item in collection.items)
            _check_keys([key for found in keys for key in found])
        self._push(_Value("other"))

    def _newobj(self, _: Any) -> None:
        made, _ = self._pop_many(2)
        if made.text in _GROW:
            raise TooMuch
        self._push(_Value("other"))

    def _build(self, _: Any) -> None:
        self._pop_many(1)

    def _binpersid(self, _: Any) -> None:
        self._pop_many(1)
        self._push(_Value("other"))

    def _pop(self, _: Any) -> None:
        self._pop_many(1)

    def _pop_mark(self, _: Any) -> None:
        self._after_mark()

    def _dup(self, _: Any) -> None:
        self._push(self._stack[-1])

    def _put(self, argument: int) -> None:
        self._memo[argument] = self._stack[-1]

    _binput = _long_binput = _put

    def _memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _get(self, argument: int) -> None:
        self._push(self._memo[argument])

    _binget = _long_binget = _get


_GROW = ("builtins bytearray", "__builtin__ bytearray")
"""Types that take as much memory as a number says."""
_COLLECTIONS = ("collections OrderedDict", "builtins set", "__builtin__ set")


def _tuple(items: list[_Value]) -> _Value:
    depth = 1 + max((item.depth for item in items), default=0)
    if depth > DEEPEST_TUPLE:
        raise TooMuch
    return _Value("tuple", items, depth=depth)


def _check_keys(keys: Sequence[_Value]) -> None:
    """Raise TooMuch for keys other than text, whole numbers and types: they can be slow to hash."""
    if any(key.kind not in ("text", "number", "global") for key in keys):
        raise TooMuch
