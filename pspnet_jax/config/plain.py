"""Values of a config as the plain numbers, texts and tuples that JSON holds."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from pspnet_jax.errors import UserError

_DEEPEST = 8  # dictionaries and tuples within one another
_LARGEST = 100_000  # entries of an array: a setting, not data


def plain(value: Any, key: str, where: str) -> Any:
  """Returns None, a bool, a number, a text, a tuple or a dictionary of these.

  A path becomes its text, a number of NumPy or JAX a number, and an array, a list or a set a tuple.

  Args:
    value: of whatever type.
    key: of the setting, and `where` it is set, for messages.
    where: a file, as a rule.

  Raises:
    UserError: for anything else.
  """
  return _plain(value, key, where, _DEEPEST)


def _plain(value: Any, key: str, where: str, levels: int) -> Any:
  if value is None or type(value) in (bool, int, float, str):
    return value
  if not levels:
    raise UserError(f'{where} sets {key} to tuples or dictionaries within one another: flatten it.')
  if isinstance(value, os.PathLike):
    return os.fsdecode(value)
  if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
    return {str(k): _plain(x, f'{key}.{k}', where, levels - 1) for k, x in value.items()}
  if isinstance(value, str | int | float):  # of a type of its own, such as an enum
    return next(kind(value) for kind in (str, int, float) if isinstance(value, kind))
  if hasattr(value, '__array__'):  # of NumPy, JAX, torch ...
    try:
      array = np.asarray(value)
    except Exception as e:  # whatever such a type may raise
      raise _refusal(value, key, where) from e
    if array.dtype.kind in 'biufU' and array.size <= _LARGEST:
      return _plain(array.tolist(), key, where, levels)
    raise _refusal(value, key, where)
  if isinstance(value, set | frozenset):
    value = sorted(value, key=lambda x: (type(x).__name__, x))
  if isinstance(value, list | tuple | range) and len(value) <= _LARGEST:
    return tuple(_plain(x, key, where, levels - 1) for x in value)
  raise _refusal(value, key, where)


def _refusal(value: Any, key: str, where: str) -> UserError:
  return UserError(
    f'{where} sets {key} to {shown(value)}, a {type(value).__name__}: give numbers, a text, or a '
    'tuple of these.'
  )


def shown(value: Any, length: int = 80) -> str:
  """A value for a message: on one line, and no longer than `length`."""
  try:
    text = ' '.join(repr(value).split())
  except Exception:  # the user's own type
    text = f'<{type(value).__name__}>'
  return text if len(text) <= length else f'{text[: length - 3]}...'


def first_not_finite(value: Any, path: str = '') -> tuple[str, float] | None:
  """The first number in dictionaries and tuples that is NaN or infinite, with its path."""
  if isinstance(value, float) and not math.isfinite(value):
    return path, value
  if isinstance(value, Mapping):
    found = (first_not_finite(x, f'{path}.{key}' if path else key) for key, x in value.items())
  elif isinstance(value, tuple | list):
    found = (first_not_finite(x, path) for x in value)
  else:
    return None
  return next((x for x in found if x), None)
