"""Settings that are declared once: what is read from a declaration, and what is said of a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from webui.errors import BadField

STRICT = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True)
"""How declared dataclasses are configured: no guessing at types, and docstrings are the help."""
_KINDS = {int: "a whole number", float: "a number", bool: "true or false"}


@dataclass(frozen=True)
class Setting:
    """What is declared of a field beside its type, range, default and docstring."""

    kohya: str = ""
    """Key of Kohya's scripts that means the same."""
    api: str = ""
    """Name in AUTOMATIC1111's API."""
    old: tuple[str, ...] = ()
    """Names that earlier versions wrote into files; they are still read."""
    page: Literal["settings", "advanced", "own"] = "advanced"
    """The page's accordion that it stands in; own = its control is made by hand."""
    slider: tuple[float, float, float] | None = None
    """Least, most and step of a slider, where not all of the range is useful."""
    choices: tuple[tuple[str, str], ...] = ()
    """Label and value of each choice, where the value alone says too little."""


@dataclass(frozen=True)
class Declared:
    """Base of pydantic's dataclasses whose impossible values are told as a BadField."""

    @model_validator(mode="wrap")
    @classmethod
    def _checked(cls, values: Any, handler: Any) -> Any:
        try:
            return handler(values)
        except ValidationError as error:
            raise _bad_field(error.errors()[0], fields_of(cls)) from None


def fields_of(kind: Any) -> Mapping[str, FieldInfo]:
    """Return the declarations of a pydantic dataclass by field."""
    found: Mapping[str, FieldInfo] = kind.__pydantic_fields__
    return found


def setting_of(info: FieldInfo) -> Setting:
    """Return what is declared of a field beside its type, range, default and docstring."""
    return next((item for item in info.metadata if isinstance(item, Setting)), Setting())


def label_of(name: str, info: FieldInfo) -> str:
    """Return a field's label: its title, or else its name as words."""
    return info.title or name.replace("_", " ").capitalize()


def range_of(info: FieldInfo) -> tuple[float, float] | None:
    """Return the least and the greatest value of a number, or None if it has no limits."""
    limits = {type(item).__name__: item for item in info.metadata}
    return (limits["Ge"].ge, limits["Le"].le) if {"Ge", "Le"} <= limits.keys() else None


def choices_of(info: FieldInfo) -> tuple[tuple[str, str], ...]:
    """Return label and value of each choice of a field; none if it is no choice."""
    values = get_args(info.annotation) if get_origin(info.annotation) is Literal else ()
    return setting_of(info).choices or tuple((value, value) for value in values)


def default_of(info: FieldInfo) -> Any:
    """Return a field's default, also of one that is declared with ``dataclasses.field``."""
    usual = info.get_default(call_default_factory=True)
    return None if usual is MISSING else usual


def by_current_names(kind: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with their fields' names in place of those of earlier versions."""
    now = {old: name for name, info in fields_of(kind).items() for old in setting_of(info).old}
    return {now.get(key, key): value for key, value in values.items()}


def read_loosely(info: FieldInfo, key: str, value: Any) -> Any:
    """Return a field's value from one like it or from text; BadField with ``key`` if it is none."""
    kind: Any = info.annotation
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[(kind, Setting(), *info.metadata)])
    if isinstance(value, bool) and kind is not bool:
        raise BadField(key, f"“{key}” is {value!r}; it must be {_kind_of(info)}.")
    try:
        return adapter.validate_python(value.strip() if isinstance(value, str) else value)
    except ValidationError as error:
        raise BadField(key, _sentence(key, error.errors()[0], info)) from None


def _kind_of(info: FieldInfo) -> str:
    """Say what a field takes."""
    kind: Any = info.annotation
    if choices := choices_of(info):
        *others, last = (value for _, value in choices)
        return f"{', '.join(others)} or {last}"
    if get_origin(kind) is tuple:
        return f"a list of {'texts' if str in get_args(kind) else 'numbers'}"
    return _KINDS.get(kind, "text in quotation marks")


def _sentence(key: str, problem: ErrorDetails, info: FieldInfo) -> str:
    """Say what pydantic found wrong with a value that stands under a key."""
    kind, value, limits = problem["type"], problem["input"], range_of(info)
    if kind == "value_error":
        return f"“{key}”: {problem['ctx']['error']}"
    if limits and kind in ("greater_than_equal", "less_than_equal"):
        return f"“{key}” is {value}; it must be from {limits[0]:.12g} to {limits[1]:.12g}."
    return f"“{key}” is {value!r}; it must be {_kind_of(info)}."


def _bad_field(problem: ErrorDetails, fields: Mapping[str, FieldInfo]) -> BadField:
    name = str(problem["loc"][0])
    if name not in fields:
        return BadField(name, f"There is no setting “{name}”.")
    return BadField(name, _sentence(name, problem, fields[name]))
