"""Options of data sources, checked by the annotations of their signatures."""

from __future__ import annotations

import functools
import os
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pspnet_jax.errors import UserError
from pspnet_jax.runtime import annotated


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
  for key, given in options.items():
    kind, value = annotations.get(key, Any), _plain(given)
    if isinstance(value, int) and annotated.fits((value,), kind):
      value = (value,)
    shown = os.fspath(value) if isinstance(value, os.PathLike) else value
    none = value is None and not annotated.may_be_none(kind)
    if none or not annotated.fits(shown, kind):
      raise UserError(f'config.data.{key} is {given!r}: give {_described(kind)}.')
    found[key] = value
  return found


def _plain(value: Any) -> Any:
  """Arrays and lists as tuples, and numbers of NumPy as Python's."""
  if isinstance(value, np.ndarray | np.generic):
    value = value.tolist()
  return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value


def _described(kind: Any) -> str:
  """What to give instead, in words; of several values with an example."""
  arguments = typing.get_args(kind)
  if typing.get_origin(kind) in (types.UnionType, typing.Union):
    return _described(next(own for own in arguments if own is not type(None)))
  if typing.get_origin(kind) not in (Sequence, tuple):
    return annotated.described(kind)
  if arguments[0] is str:
    return "several in brackets, such as ('road', 'sky')"
  if int in (arguments[0], *typing.get_args(arguments[0])):
    return 'whole numbers, such as (0, 255)'
  return 'whole numbers in threes, such as ((0, 0, 0), (128, 64, 128))'
