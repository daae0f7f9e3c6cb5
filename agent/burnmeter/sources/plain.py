"""Frozen values as JSON and back, by their fields: what a recording is made of. Pure.

Fields that this version does not know are passed over, and those that it misses take their
default, so a file outlives a field. It knows no value of ours by name; what must hold among the
fields of one is that one's own affair.
"""

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def to_plain(value: object) -> Any:
    """The value in what `json` knows. Raises TypeError for a kind of value that has no form."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: to_plain(part) for name, part in value._asdict().items()}
    if isinstance(value, Mapping):
        return {str(key): to_plain(part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(part) for part in value]
    raise TypeError(f"{type(value).__name__} has no form in a recording")


def from_plain(kind: type[T], plain: Any) -> T:
    """The value of that type. Raises ValueError with the place of what does not fit."""
    found: T = _read(kind, plain, kind.__name__)
    return found


def _read(kind: Any, plain: Any, where: str) -> Any:
    origin = get_origin(kind)
    if kind is Any:
        return plain
    if origin in (Union, types.UnionType):
        return _read_any_of(get_args(kind), plain, where)
    if origin is tuple:
        return _read_tuple(get_args(kind), plain, where)
    if origin is not None and issubclass(origin, Mapping):
        return _read_mapping(get_args(kind), plain, where)
    if kind is float and isinstance(plain, int) and not isinstance(plain, bool):
        return float(plain)
    if kind in (str, bool, int, float):
        if type(plain) is not kind:
            raise ValueError(f"{where}: {plain!r:.60} is no {kind.__name__}")
        return plain
    return _read_fields(kind, plain, where)


def _read_any_of(kinds: tuple[Any, ...], plain: Any, where: str) -> Any:
    if plain is None and types.NoneType in kinds:
        return None
    rest = [kind for kind in kinds if kind is not types.NoneType]
    for kind in rest[:-1]:
        try:
            return _read(kind, plain, where)
        except ValueError:
            continue
    return _read(rest[-1], plain, where)


def _read_tuple(kinds: tuple[Any, ...], plain: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(plain, list):
        raise ValueError(f"{where}: {plain!r:.60} is no list")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(plain)
    if len(kinds) != len(plain):
        raise ValueError(f"{where}: {len(plain)} values where {len(kinds)} belong")
    pairs = zip(kinds, plain, strict=True)
    return tuple(_read(kind, part, f"{where}[{n}]") for n, (kind, part) in enumerate(pairs))


def _read_mapping(kinds: tuple[Any, ...], plain: Any, where: str) -> dict[Any, Any]:
    if not isinstance(plain, dict):
        raise ValueError(f"{where}: {plain!r:.60} is no mapping")
    key_kind, kind = kinds
    try:
        # JSON keys are text.
        return {key_kind(key): _read(kind, part, f"{where}.{key}") for key, part in plain.items()}
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from None


def _read_fields(kind: Any, plain: Any, where: str) -> Any:
    if not isinstance(plain, dict):
        raise ValueError(f"{where}: {plain!r:.60} is no {kind.__name__}")
    hints, needed = _shape(kind)
    lacks = sorted(needed - plain.keys())
    if lacks:
        raise ValueError(f"{where}: lacks {', '.join(lacks)}")
    known = {name: hint for name, hint in hints.items() if name in plain}
    return kind(**{n: _read(hint, plain[n], f"{where}.{n}") for n, hint in known.items()})


@cache
def _shape(kind: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """Types of its fields, and the names of those without a default."""
    hints = get_type_hints(kind)
    if is_dataclass(kind):
        found = fields(kind)
        needed = [f.name for f in found if f.default is MISSING and f.default_factory is MISSING]
        return {f.name: hints[f.name] for f in found}, frozenset(needed)
    if not hasattr(kind, "_field_defaults"):
        raise TypeError(f"{kind} has no form in a recording")
    return {n: hints[n] for n in kind._fields}, frozenset(kind._fields) - set(kind._field_defaults)
