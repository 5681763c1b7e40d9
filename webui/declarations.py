"""Fields that are declared once: type, limits, default, and what people are told of them.

A room that has such fields extends ``Declaration`` by what else follows from them, such as names
in file formats, and makes a dataclass whose defaults are ``declared(value, …)``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from webui.errors import BadField

T = TypeVar("T")
D = TypeVar("D", bound="Declaration")

_KEY = "declaration"


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What is known of a field beside its value."""

    label: str
    """What the page and messages call it."""
    note: str = ""
    """What a special value means, for example "0 = same", or None where that is a value."""
    help: str = ""
    """A sentence or two on what it does."""
    low: float | None = None
    high: float | None = None
    """Limits of a number, both allowed."""
    step: float = 1
    """By how much the page's arrows change a number."""
    multiple_of: int | None = None
    max_length: int | None = None
    """Longest text in characters."""
    choices: Collection[str] = ()
    """The values that there are, of a text that is none of its own; a mapping has their labels."""
    more_choices: bool = False
    """Whether there may be further values, such as files, which only those check who know them."""
    before: Callable[[Any], Any] | None = None
    """Makes what is given into what the type can read."""
    after: Callable[[Any], Any] | None = None
    """A check beyond type and limits; raises ValueError with a sentence."""
    name: str = ""
    """The field's name in its class; like the next two, ``declarations_of`` fills it in."""
    type: Any = str
    """bool, int, float, str or a tuple of them; None where the field may be None."""
    optional: bool = False
    """Whether None is a value."""
    default: Any = None

    @property
    def page_label(self) -> str:
        """The label with the note, which stands in the control itself where that may be empty."""
        return f"{self.label} ({self.note})" if self.note and not self.optional else self.label

    def check(self, value: Any) -> Any:
        """Return a value as the field's type; numbers in texts are understood.

        Raises BadField with a sentence that names the label and the limits.
        """
        try:
            return self._adapter.validate_python(value)
        except ValidationError as error:
            raise BadField(self.name, self._sentence(value, error)) from None

    def from_json(self, text: str) -> Any:
        """Return the value of a JSON text, which must be of the field's own type.

        Raises BadField if it cannot be used.
        """
        try:
            return self._adapter.validate_json(text, strict=True)
        except ValidationError as error:
            raise BadField(self.name, self._sentence(text, error)) from None

    @property
    def limits(self) -> str:
        """The values that there are, for people; "" where any will do."""
        if self.choices:
            return f"one of: {', '.join(self.choices)}"
        if self.low is None or self.high is None:
            return ""
        limits = f"between {self.low:.12g} and {self.high:.12g}"
        return f"a multiple of {self.multiple_of} {limits}" if self.multiple_of else limits

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        is_number = self.type in (int, float)
        limits = Field(
            ge=self.low,
            le=self.high,
            multiple_of=self.multiple_of,
            max_length=self.max_length,
            allow_inf_nan=False if is_number else None,
        )
        kind: Any = self.type
        if self.choices and not self.more_choices:
            kind = Annotated[kind, AfterValidator(self._known)]
        kind = Annotated[kind, limits]
        if is_number:
            kind = Annotated[kind, BeforeValidator(self._no_truth_value)]
        if self.before:
            kind = Annotated[kind, BeforeValidator(self.before)]
        if self.after:
            kind = Annotated[kind, AfterValidator(self.after)]
        return TypeAdapter(kind | None if self.optional else kind)

    def _no_truth_value(self, value: Any) -> Any:
        if isinstance(value, bool):
            raise PydanticCustomError("int_type", "a truth value is no number")
        return value

    def _known(self, value: str) -> str:
        if value not in self.choices:
            raise ValueError("unknown")
        return value

    def _sentence(self, value: Any, error: ValidationError) -> str:
        """Say what of a value cannot be used."""
        shown = f"{value:.12g}" if isinstance(value, float) else str(value)[:60]
        if value in (None, ""):
            return f"{self.label} is empty; it must be {self.limits or 'given'}."
        if self.choices:
            return f"{self.label}: there is no “{shown}”. Choose {self.limits}."
        problem = error.errors()[0]
        kind = problem["type"]
        if kind == "value_error":
            return str(problem["ctx"]["error"])
        if self.type is bool:
            return f"{self.label} must be true or false, not {shown}."
        if get_origin(self.type) is tuple:
            items = "texts" if str in get_args(self.type) else "numbers"
            return f"{self.label} must be a list of {items}, not {shown}."
        if kind == "string_type":
            return f"{self.label} must be text, not {shown}."
        if kind == "string_too_long":
            return f"{self.label} may have at most {self.max_length:,} characters."
        if kind.startswith(("int_", "float_")) and not self.multiple_of:
            whole = "a whole number" if self.type is int else "a number"
            return f"{self.label} must be {whole} {self.limits}, not {shown}."
        if self.limits:
            return f"{self.label} must be {self.limits}, not {shown}."
        return f"{self.label} cannot be “{shown}”."


def declared(default: T, declaration: Declaration, compare: bool = True) -> T:
    """Return what makes a dataclass field with a default value of a declaration.

    Without ``compare`` the field does not take part in equality.
    """
    made: T = dataclasses.field(default=default, metadata={_KEY: declaration}, compare=compare)
    return made


def declarations_of(kind: type, declaration: type[D]) -> Mapping[str, D]:
    """Return the declarations of a dataclass's declared fields by name, in their order."""
    types = get_type_hints(kind)
    found: dict[str, D] = {}
    for each in dataclasses.fields(kind):
        if _KEY not in each.metadata:
            continue
        stated = each.metadata[_KEY]
        if not isinstance(stated, declaration):
            raise TypeError(f"{each.name} is declared as {type(stated).__name__}")
        parts = get_args(types[each.name])
        optional = NoneType in parts
        found[each.name] = dataclasses.replace(
            stated,
            name=each.name,
            type=parts[0] if optional else types[each.name],
            optional=optional,
            default=each.default,
        )
    return found
