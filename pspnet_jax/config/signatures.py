"""Settings that stand in the signature of what they configure, and nowhere else."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import types
import typing
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import ml_collections
from ml_collections import config_dict

from pspnet_jax.data.spec import PathText

# What stands in a config for what a signature asks for.
_FIELDS = {list: tuple, collections.abc.Sequence: tuple, Path: str, PathText: str}


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
  *configured: Callable[..., Any], without: Collection[str] = (), needed: bool = False
) -> ml_collections.ConfigDict:
  """The parameters that have a default, with it; None becomes a field of the annotated type.

  A default that JSON has no form for, such as an activation function, stays in the signature.

  Args:
    *configured: functions or classes; the first that has a parameter decides.
    without: parameters to leave out.
    needed: whether parameters without a default are fields that are not set yet.
  """
  config = ml_collections.ConfigDict()
  for function in configured:
    for name, parameter in parameters_of(function).items():
      value = parameter.default
      if value is inspect.Parameter.empty and needed:
        value = None
      if name in without or name in config or value is inspect.Parameter.empty:
        continue
      if value is None:
        config[name] = config_dict.placeholder(_kind(parameter.annotation))
      elif _is_plain(value):
        config[name] = tuple(value) if isinstance(value, list) else value
  return config


def paths_of(configured: Callable[..., Any]) -> list[str]:
  """The parameters that are paths, as their annotation says: `Path` or `data.spec.PathText`."""
  parameters = parameters_of(configured).items()
  return [name for name, p in parameters if {Path, PathText} & {*_options(p.annotation)}]


def _named(function: Any) -> dict[str, inspect.Parameter]:
  variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
  try:
    parameters = inspect.signature(function).parameters
  except ValueError:  # as of dict, written in C
    return {}
  if isinstance(function, functools.partial):
    function = function.func
  constructor = vars(function).get('__init__') if isinstance(function, type) else None
  try:
    hints = typing.get_type_hints(constructor or function, include_extras=True)
  except (NameError, TypeError, AttributeError):  # names imported for the type checker only
    hints = {}
  return {
    name: p.replace(annotation=hints.get(name, p.annotation))
    for name, p in parameters.items()
    if p.kind not in variadic and name != 'self'
  }


def _is_plain(value: Any) -> bool:
  if isinstance(value, dict):
    return all(isinstance(key, str) and _is_plain(x) for key, x in value.items())
  if isinstance(value, list | tuple):
    return all(map(_is_plain, value))
  return value is None or type(value) in (bool, int, float, str)


def _options(annotation: Any) -> list[Any]:
  """The types that an annotation allows beside None, without what they hold."""
  if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
    parts = [_options(x) for x in typing.get_args(annotation) if x is not type(None)]
    return [x for part in parts for x in part]
  if typing.get_origin(annotation) is typing.Literal:
    return [type(x) for x in typing.get_args(annotation)]
  if annotation is PathText or typing.get_origin(annotation) is None:
    return [annotation]
  return [typing.get_origin(annotation)]


def _kind(annotation: Any) -> type:
  """The type that a config field takes for an annotation such as `int | None`."""
  kinds = {_FIELDS.get(x, x) for x in _options(annotation)}
  kind = kinds.pop()
  return kind if not kinds and kind in (bool, int, float, str, tuple) else object
