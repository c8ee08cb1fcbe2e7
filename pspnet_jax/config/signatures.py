"""Settings that stand in the signature of what they configure, and nowhere else."""

from __future__ import annotations

import collections.abc
import inspect
import types
import typing
from collections.abc import Callable, Collection
from typing import Any

import ml_collections
from ml_collections import config_dict


def parameters_of(configured: Callable[..., Any]) -> dict[str, inspect.Parameter]:
  """The named parameters of a function or a class.

  A class that hands `**options` on to its base class has that one's parameters too.
  """
  if not isinstance(configured, type):
    return _named(configured)
  found: dict[str, inspect.Parameter] = {}
  for base in configured.__mro__:
    if '__init__' not in vars(base):
      continue
    constructor = vars(base)['__init__']
    found = _named(constructor) | found
    kinds = {p.kind for p in inspect.signature(constructor).parameters.values()}
    if inspect.Parameter.VAR_KEYWORD not in kinds:
      break
  return found


def defaults_of(
  *configured: Callable[..., Any], without: Collection[str] = ()
) -> ml_collections.ConfigDict:
  """The parameters that have a default, with it; None becomes a field of the annotated type.

  A default that JSON has no form for, such as an activation function, stays in the signature.
  """
  config = ml_collections.ConfigDict()
  for function in configured:
    for name, parameter in parameters_of(function).items():
      if name in without or name in config or parameter.default is inspect.Parameter.empty:
        continue
      value = parameter.default
      if value is None:
        config[name] = config_dict.placeholder(_kind(parameter.annotation))
      elif _is_plain(value):
        config[name] = tuple(value) if isinstance(value, list) else value
  return config


def _named(function: Any) -> dict[str, inspect.Parameter]:
  variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
  try:
    hints = typing.get_type_hints(function)
  except (NameError, TypeError, AttributeError):  # names imported for the type checker only
    hints = {}
  return {
    name: p.replace(annotation=hints.get(name, p.annotation))
    for name, p in inspect.signature(function).parameters.items()
    if p.kind not in variadic and name != 'self'
  }


def _is_plain(value: Any) -> bool:
  if isinstance(value, dict):
    return all(isinstance(key, str) and _is_plain(x) for key, x in value.items())
  if isinstance(value, list | tuple):
    return all(map(_is_plain, value))
  return value is None or type(value) in (bool, int, float, str)


def _kind(annotation: Any) -> type:
  """The type that a config field takes for an annotation such as `int | None`."""
  options = [annotation]
  if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
    options = [option for option in typing.get_args(annotation) if option is not type(None)]
  if len(options) != 1:
    return object
  kind = typing.get_origin(options[0]) or options[0]
  if kind in (tuple, list, collections.abc.Sequence):
    return tuple
  return kind if kind in (bool, int, float, str) else object
