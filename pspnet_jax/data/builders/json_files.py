"""Reads JSON that others wrote: what is missing or of another kind is an error that says where."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pspnet_jax.errors import UserError
from pspnet_jax.runtime.limits import BYTES

_KINDS = {
  dict: 'an object', list: 'a list', str: 'a text', int: 'a whole number', float: 'a number',
}  # fmt: skip


def read_json(path: Path) -> Mapping[str, Any]:
  """The object in a JSON file.

  Raises:
    UserError: if it cannot be read, is too large, or holds no object.
  """
  try:
    if not path.is_file():
      fault = 'is no file' if path.exists() else 'does not exist'
      raise UserError(f'{path} {fault}: give a JSON file.')
    if too_large := BYTES.exceeded_by(path.stat().st_size):
      raise UserError(f'{path} has {too_large}.')
    found = json.loads(path.read_bytes())
  except OSError as error:
    raise UserError(f'{path} cannot be read ({error.strerror}): check the path.') from error
  except UserError:
    raise
  except (ValueError, RecursionError) as error:
    reason = ' '.join(str(error).split())[:200]
    raise UserError(f'{path} is no JSON ({reason}): export it again.') from error
  if not isinstance(found, dict):
    raise UserError(f'{path} holds no object: give the JSON file of one annotated set.')
  return found


def get(found: Any, key: str, kind: type, where: str, default: Any = None) -> Any:
  """`found[key]`, which has to be of a kind; `default`, if there is one, where it is missing.

  Raises:
    UserError: naming `where`.
  """
  if not isinstance(found, dict):
    raise UserError(f'{where} is no object: export the annotations again.')
  value = found.get(key, default)
  if value is None and key not in found:
    raise UserError(f'{where} has no {key!r}: export the annotations again.')
  return checked(value, kind, f'{key!r} of {where}')


def checked(value: Any, kind: type, what: str) -> Any:
  """The value, if it is of a kind.

  Raises:
    UserError: naming `what` it is.
  """
  numbers = (int, float) if kind is float else kind
  wrong = not isinstance(value, numbers) or (isinstance(value, bool) and kind in (int, float))
  if wrong or (kind is float and not math.isfinite(value)):
    raise UserError(f'{what} is not {_KINDS[kind]}: export the annotations again.')
  return value
