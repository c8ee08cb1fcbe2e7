"""Options of data sources, checked by the annotations of their signatures."""

from __future__ import annotations

import functools
import operator
import os
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from pspnet_jax.errors import UserError


def annotations_of(opener: Callable[..., Any]) -> dict[str, Any]:
  """The types that a function or a class says its arguments have."""
  function: Any = opener.func if isinstance(opener, functools.partial) else opener
  if isinstance(function, type):
    function = function.__init__  # type: ignore[misc]
  return {name: kind for name, kind in typing.get_type_hints(function).items() if name != 'return'}


def checked(opener: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
  """The options as the arguments of `opener` are annotated: sequences as tuples, one id as several.

  Raises:
    UserError: for one of another type, by its key in a config.
  """
  annotations = annotations_of(opener)
  found = {}
  for key, value in options.items():
    try:
      found[key] = _converted(value, annotations.get(key, Any))
    except TypeError:
      raise UserError(
        f'config.data.{key} is {value!r}: give {_described(annotations[key])}.'
      ) from None
  return found


def _converted(value: Any, kind: Any) -> Any:
  """The value as an instance of the type; TypeError if it is none."""
  origin, arguments = typing.get_origin(kind), typing.get_args(kind)
  if origin in (types.UnionType, typing.Union):
    for argument in arguments:
      try:
        return _converted(value, argument)
      except TypeError:
        continue
    raise TypeError
  if origin is Literal:
    fits = isinstance(value, str | int) and value in arguments
  elif origin is Sequence or origin is tuple:
    several = isinstance(value, list | tuple | np.ndarray)
    if not several and (isinstance(value, str) or not _holds_numbers(arguments[0])):
      raise TypeError
    return tuple(_converted(own, arguments[0]) for own in (value if several else [value]))
  elif kind is int:
    if isinstance(value, bool):
      raise TypeError
    return operator.index(value)
  elif kind is str:
    fits = isinstance(value, str | os.PathLike)
  elif kind in (bool, type(None)):
    fits = isinstance(value, kind)
  elif kind is float:
    fits = isinstance(value, float | int) and not isinstance(value, bool)
  else:  # whatever it is, the source knows
    fits = True
  if not fits:
    raise TypeError
  return value


_OF_THREE = 'whole numbers in threes, such as ((0, 0, 0), (128, 64, 128))'


def _holds_numbers(kind: Any) -> bool:
  return kind is int or int in typing.get_args(kind)


def _described(kind: Any) -> str:
  """What to give instead, in words."""
  origin, arguments = typing.get_origin(kind), typing.get_args(kind)
  if origin in (types.UnionType, typing.Union):
    return _described(next(own for own in arguments if own is not type(None)))
  if origin is Literal:
    return ' or '.join(map(repr, arguments))
  if origin is Sequence or origin is tuple:
    if str in (arguments[0], *typing.get_args(arguments[0])):
      return "several in brackets, such as ('road', 'sky')"
    return 'whole numbers, such as (0, 255)' if _holds_numbers(arguments[0]) else _OF_THREE
  return {int: 'a whole number', str: 'a text', bool: 'True or False'}.get(kind, 'a number')
