"""Data sources by the names that configs use."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from pspnet_jax.data.folder import Folder, LenientFolder
from pspnet_jax.data.prepared import SPLITS, Prepared
from pspnet_jax.data.scenes import ContextScenes
from pspnet_jax.data.spec import Source
from pspnet_jax.errors import UserError

SOURCES: dict[str, Callable[..., Source]] = {
  'context_scenes': ContextScenes,
  'folder': Folder,
  **{name: functools.partial(Prepared, name) for name in SPLITS},
}
LENIENT = {'folder': LenientFolder}  # for those that refuse files when they are opened


def open_source(name: str, split: str, *, lenient: bool = False, **options: Any) -> Source:
  """Opens a split of a data source; `options` are the keyword arguments of its constructor.

  With `lenient`, a source keeps aside what it would refuse, for somebody to look at.

  Raises:
    UserError: for an unknown source or option, an option that is missing, or whatever the source
      finds wrong with its data.
  """
  if name not in SOURCES:
    raise UserError(f'unknown data source {name!r}: known are {", ".join(sorted(SOURCES))}.')
  parameters = inspect.signature(SOURCES[name]).parameters
  known = [parameter for parameter in parameters if parameter != 'split']
  for option in options:
    if option not in known:
      raise UserError(f'unknown option {option!r} of {name}: known are {", ".join(known)}.')
  for option in known:
    if parameters[option].default is inspect.Parameter.empty and option not in options:
      raise UserError(f'data source {name} needs the option {option!r}: give it in the config.')
  opener = LENIENT.get(name, SOURCES[name]) if lenient else SOURCES[name]
  return opener(split=split, **options)
