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


def find(path: str) -> Path:
  """The file `path`, or the config of the package that is called so.

  Raises:
    UserError: if there is neither, with the nearest name.
  """
  if Path(path).is_file():
    return Path(path)
  known = names()
  if path in known:
    return next(folder for folder in FOLDERS if folder.is_dir()) / f'{path}.py'
  near = nearest(Path(path).stem, known)
  listed = f"one of the package's: {', '.join(known)}"
  hint = f'did you mean --config={near}?' if near else f'give --config=FILE.py, or {listed}.'
  raise UserError(f'there is no config file {path}: {hint}')
