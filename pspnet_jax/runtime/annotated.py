"""What an annotation says of a value: whether it fits, and which one to give."""

from __future__ import annotations

import collections.abc
import types
import typing
from typing import Any

_WORDS = {
  bool: 'True or False',
  float: 'a number',
  int: 'a whole number',
  str: 'a text',
  tuple: 'values with commas between them',
}
_PLURALS = {float: 'numbers', int: 'whole numbers', str: 'texts'}
_COUNTS = {1: 'one', 2: 'two', 3: 'three', 4: 'four'}
_SEQUENCES = (tuple, list, collections.abc.Sequence)


def may_be_none(annotation: Any) -> bool:
  """Whether None is one of the annotated values."""
  return annotation in (None, Any) or type(None) in typing.get_args(annotation)


def fits(value: Any, annotation: Any) -> bool:
  """Whether a value of a config is one of the annotated type; so is None, which is not set."""
  origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
  if value is None:
    return True
  if origin in (typing.Union, types.UnionType):
    return any(fits(value, x) for x in arguments if x is not type(None))
  if origin is typing.Literal:
    return any(value == x and type(value) is type(x) for x in arguments)
  if origin is typing.Annotated:
    return fits(value, arguments[0])
  if origin is collections.abc.Mapping:
    return isinstance(value, collections.abc.Mapping)
  if origin in _SEQUENCES and arguments:
    if not isinstance(value, tuple | list):
      return False
    fixed = origin is tuple and arguments[-1] is not ...
    kinds = arguments if fixed else arguments[:1] * len(value)
    pairs = zip(value, kinds, strict=False)
    return len(value) == len(kinds) and all(x is not None and fits(x, kind) for x, kind in pairs)
  if annotation in (bool, str):
    return isinstance(value, annotation)
  if annotation in (int, float):
    numbers = (int,) if annotation is int else (int, float)
    return isinstance(value, numbers) and not isinstance(value, bool)
  return True


def described(annotation: Any) -> str:
  """What to give, such as 'two numbers' or "'avg' or 'max'"."""
  origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
  if origin in (typing.Union, types.UnionType):
    return ' or '.join(described(x) for x in arguments if x is not type(None))
  if origin is typing.Literal:
    return ' or '.join(map(repr, arguments))
  if origin is typing.Annotated:
    return described(arguments[0])
  if origin in _SEQUENCES and arguments:
    of = _PLURALS.get(arguments[0], 'values')
    if origin is tuple and arguments[-1] is not ...:
      return f'{_COUNTS.get(len(arguments), len(arguments))} {of} with commas between them'
    return f'{of} with commas between them'
  return _WORDS.get(annotation, 'another value')
