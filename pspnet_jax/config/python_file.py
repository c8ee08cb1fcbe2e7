"""Config files in Python: found, executed, and whatever they raise told in one sentence."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_collections

from pspnet_jax.config import shipped
from pspnet_jax.config.plain import shown
from pspnet_jax.errors import UserError


def call(text: str) -> tuple[ml_collections.ConfigDict, str]:
  """Calls the get_config of `FILE.py` or `FILE.py:ARGUMENT`.

  A file with a dictionary `ROWS` takes its keys as arguments, and no others.

  Args:
    text: as on the command line; a config of the package goes by its name, too.

  Returns:
    What it returns, and the file.

  Raises:
    UserError: if there is no such file, or it gives no config.
  """
  path, argument = _split(text)
  with _executed(path) as module:
    get_config = module.get_config
    if argument and not inspect.signature(get_config).parameters:
      raise UserError(f'{path} takes no argument: leave out :{argument}.')
    if isinstance(getattr(module, 'ROWS', None), Mapping):
      _check_row(path, argument, module.ROWS, get_config)
    changes = get_config(*([argument] if argument else []))
  if not isinstance(changes, ml_collections.ConfigDict):
    raise UserError(f'get_config() of {path} returns {shown(changes)}: return a ConfigDict.')
  return changes, str(path)


def rows(text: str) -> dict[str, Any]:
  """What `FILE.py` says of each of its rows, by the argument that gives it; {} if it has none."""
  with _executed(_split(text)[0]) as module:
    return dict(getattr(module, 'ROWS', {}))


@contextlib.contextmanager
def _executed(path: Path) -> Iterator[Any]:
  """Executes the file, whose siblings can be imported as long as its module is used.

  Raises:
    UserError: for whatever it or what is done with it raises.
  """
  spec = importlib.util.spec_from_file_location('config', path)
  if spec is None or spec.loader is None:
    raise UserError(f'{path} is not a Python file: give --config=FILE.py.')
  module = importlib.util.module_from_spec(spec)
  with _importing_from(path.resolve().parent):
    try:
      spec.loader.exec_module(module)
      yield module
    except (UserError, KeyboardInterrupt):
      raise
    except BaseException as e:  # the file is the user's code: whatever it raises, they can mend
      says = ' '.join(str(e.msg if isinstance(e, SyntaxError) else e).split())[:300].rstrip('.')
      says = f': {says}' if says else ''
      raise UserError(
        f'{path} does not give a config: {type(e).__name__}{says}{_place(e, path)}.'
      ) from e


def _split(text: str) -> tuple[Path, str]:
  """The file and the argument behind a colon; a path may have colons of its own."""
  if not text:
    raise UserError('--config is empty: give --config=FILE.py.')
  if path := shipped.known(text):
    return path, ''
  for i in reversed([i for i, letter in enumerate(text) if letter == ':']):
    if path := shipped.known(text[:i]):
      return path, text[i + 1 :]
  head, _, argument = text.rpartition(':')
  return shipped.find(text if not head or {'/', '\\'} & {*argument} else head), ''


def _check_row(path: Path, row: str, rows: Mapping[str, Any], get_config: Any) -> None:
  """Raises UserError for a row that is not there, with those that are, the most alike first."""
  needed = any(
    parameter.default is inspect.Parameter.empty
    for parameter in inspect.signature(get_config).parameters.values()
  )
  if row in rows or (not row and not needed):
    return
  near = sorted(rows, key=lambda x: difflib.SequenceMatcher(None, row, x).ratio(), reverse=True)
  what = f'has no row {row!r}' if row else 'needs a row behind a colon'
  raise UserError(f'{path} {what}: give one of {", ".join(near)}.')


def _place(error: BaseException, path: Path) -> str:
  """Where in the user's own files it went wrong."""
  if isinstance(error, SyntaxError) and error.filename:
    return f' ({Path(error.filename).name}, line {error.lineno})'
  folder = path.resolve().parent
  own = [
    frame
    for frame in traceback.extract_tb(error.__traceback__)
    if Path(frame.filename).resolve().parent == folder
  ]
  return f' ({Path(own[-1].filename).name}, line {own[-1].lineno})' if own else ''


@contextlib.contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
  """Lets the file import its siblings, from whatever folder the command was started.

  They are forgotten afterwards: another file may have siblings of the same names.
  """
  importlib.invalidate_caches()
  before = dict(sys.modules)
  # What has a sibling's name, but came from elsewhere, makes room for the sibling.
  for name in {path.stem for path in folder.glob('*.py')} | {
    path.parent.name for path in folder.glob('*/__init__.py')
  }:
    known = sys.modules.get(name)
    if known is None or name in ('__main__', 'pspnet_jax') or name in sys.stdlib_module_names:
      continue
    if not _lies_in(known, folder):
      for other in [x for x in sys.modules if x == name or x.startswith(f'{name}.')]:
        del sys.modules[other]
  sys.path.insert(0, str(folder))
  try:
    yield
  finally:
    with contextlib.suppress(ValueError):  # the file may have changed it, too
      sys.path.remove(str(folder))
    tops = {name.partition('.')[0] for name in before}
    for name, module in list(sys.modules.items()):
      if name.partition('.')[0] not in tops and _lies_in(module, folder):
        del sys.modules[name]
    for name, module in before.items():
      if sys.modules.get(name) is not module:
        sys.modules[name] = module


def _lies_in(module: Any, folder: Path) -> bool:
  path = getattr(module, '__file__', None)
  return path is not None and Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
