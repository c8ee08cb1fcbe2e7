"""The configs that come with the package, by their names."""

from __future__ import annotations

from pathlib import Path

import pspnet_jax
from pspnet_jax.errors import UserError, nearest

_PACKAGE = Path(pspnet_jax.__file__).parent
# A wheel holds them in the package; in a checkout they lie beside it.
FOLDERS = (_PACKAGE / 'configs', _PACKAGE.parent / 'configs')


def names() -> list[str]:
  """What --config=NAME knows."""
  folder = next((folder for folder in FOLDERS if folder.is_dir()), None)
  return [] if folder is None else sorted(path.stem for path in folder.glob('[!_]*.py'))


def known(path: str) -> Path | None:
  """The file `path`, or the config of the package that is called so; None if there is neither."""
  try:
    file = Path(path).expanduser()
    if file.is_file():
      return file
  except (OSError, RuntimeError, ValueError):  # too long a name, no such user, a zero byte
    return None
  if path not in names():
    return None
  return next(folder for folder in FOLDERS if folder.is_dir()) / f'{path}.py'


def find(path: str) -> Path:
  """`known`, or an error.

  Raises:
    UserError: if there is neither, with the nearest name.
  """
  if (found := known(path)) is not None:
    return found
  near = nearest(Path(path).stem, names())
  listed = f"one of the package's: {', '.join(names())}"
  hint = f'did you mean --config={near}?' if near else f'give --config=FILE.py, or {listed}.'
  raise UserError(f'there is no config file {path}: {hint}')
