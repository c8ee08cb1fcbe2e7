"""Data sources by the names that configs use."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from pspnet_jax.data.checked import Checked
from pspnet_jax.data.folder import Folder, LenientFolder
from pspnet_jax.data.options import checked
from pspnet_jax.data.prepared import SPLITS, Prepared
from pspnet_jax.data.scenes import ContextScenes
from pspnet_jax.data.spec import DatasetSpec, Source
from pspnet_jax.data.tfds_source import TfdsSource
from pspnet_jax.errors import UserError

SOURCES: dict[str, Callable[..., Source]] = {
  'context_scenes': ContextScenes,
  'folder': Folder,
  'tfds': TfdsSource,
  **{name: functools.partial(Prepared, name) for name in SPLITS},
}
LENIENT = {'folder': LenientFolder}  # for those that refuse files when they are opened
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def open_source(
  name: str,
  split: str,
  *,
  lenient: bool = False,
  own: Callable[..., Source] | None = None,
  **options: Any,
) -> Source:
  """Opens a split of a data source; `options` are the keyword arguments of its constructor.

  Args:
    name: a key of `SOURCES`, or whatever `own` is called.
    split: of the data set.
    lenient: makes a source keep aside what it would refuse, for somebody to look at.
    own: opens a source of the user's own, whose examples are checked.
    **options: of the source.

  Raises:
    UserError: for an unknown source or option, an option that is missing or of another type than
      the signature says, or whatever the source finds wrong with its data.
  """
  opener = own or SOURCES.get(name)
  if opener is None:
    raise UserError(
      f'unknown data source {name!r}: known are {", ".join(sorted(SOURCES))}, and '
      'package.module:Class of your own.'
    )
  try:
    parameters = dict(inspect.signature(opener).parameters)
  except ValueError:  # as of dict, written in C
    parameters = {}
  if parameters.pop('split', None) is None:
    raise UserError(f'data source {name} takes no split: give it an argument of that name.')
  kinds = {name: parameter.kind for name, parameter in parameters.items()}
  named = [n for n, kind in kinds.items() if kind not in _VARIADIC]
  for option in options:
    if option not in named and inspect.Parameter.VAR_KEYWORD not in kinds.values():
      raise UserError(f'unknown option {option!r} of {name}: known are {", ".join(named)}.')
  for option in named:
    if parameters[option].default is inspect.Parameter.empty and option not in options:
      raise UserError(f'data source {name} needs the option {option!r}: give it in the config.')
  if lenient and own is None:
    opener = LENIENT.get(name, opener)
  if own is None:
    options = checked(SOURCES[name], options)
  source = opener(split=split, **options)
  return source if own is None else _checked(name, source)


def _checked(name: str, source: Any) -> Checked:
  if not isinstance(getattr(source, 'spec', None), DatasetSpec) or not all(
    hasattr(source, method) for method in ('__len__', '__getitem__')
  ):
    raise UserError(
      f'data source {name} gives a {type(source).__name__}, which is no source: give it a length, '
      'examples by index, and a DatasetSpec as its attribute spec.'
    )
  return Checked(source)
