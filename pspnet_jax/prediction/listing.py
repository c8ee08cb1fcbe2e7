"""The images that a job is about: a folder, a pattern, or a list of paths in a file."""

from __future__ import annotations

import collections
import csv
import glob
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pspnet_jax.data.image_files import IMAGE_SUFFIXES, counted, list_images
from pspnet_jax.errors import UserError
from pspnet_jax.prediction.manifest import arrow
from pspnet_jax.runtime.plain_text import printable

LISTS = ('.txt', '.csv', '.parquet')  # files that hold paths
_COLUMN = 'path'


class Listing(NamedTuple):
  """Images in the order of a job."""

  root: Path  # what `names` are below
  paths: list[Path]  # to read from
  ids: list[str]  # how the manifest calls them, all different
  names: list[Path]  # below the root, of which the names of results are made
  left_aside: dict[Path, str]  # what else was there, with what it is


def read(given: Path) -> Listing:
  """Finds the images of a folder, a pattern with wildcards, an image, or a list of paths.

  A folder's and a pattern's images are called by their path below the folder, or below the part of
  the pattern that has no wildcard. A list is a text file with a path on each line, or a CSV or
  Parquet file with a column `path`; its paths are below its own folder, and called as they stand
  there.

  Raises:
    UserError: if there is no image; for a list that cannot be read, has no such column, names a
      file twice, or of which no file is there.
  """
  if not os.path.lexists(given) and glob.has_magic(str(given)):
    return _of_pattern(given)
  if given.is_file() and given.suffix.lower() in LISTS:
    return _of_list(given)
  files = list_images(given)
  root = given if given.is_dir() else given.parent
  names = [path.relative_to(root) for path in files.found]
  return Listing(root, files.found, [x.as_posix() for x in names], names, files.left_aside)


def _of_pattern(pattern: Path) -> Listing:
  parts = pattern.parts
  plain = next(i for i, part in enumerate(parts) if glob.has_magic(part))
  root = Path(*parts[:plain])
  found: list[Path] = []
  left_aside: dict[Path, str] = {}
  seen: set[str] = set()
  real = dict[Path, str]()
  # Shorter names first: of a file that links lead to in circles, the first counts.
  matches = sorted(map(Path, glob.iglob(str(pattern), recursive=True)), key=_by_depth)
  for path in matches:
    if path.is_dir():
      continue
    if path.parent not in real:
      real[path.parent] = os.path.realpath(path.parent)
    where = os.path.join(real[path.parent], path.name)
    if where in seen:
      left_aside[path] = 'file by another name'
    elif path.suffix.lower() not in IMAGE_SUFFIXES:
      left_aside[path] = path.suffix.lower() or 'without extension'
    else:
      found.append(path)
    seen.add(where)
  if not found:
    others = f' but {counted(left_aside)}' if left_aside else ''
    if not matches:
      others = ', and nothing else'
    raise UserError(
      f'{pattern} matches no image{others}: * stands for a part of one name, ** for any folders.'
    )
  names = sorted(path.relative_to(root) for path in found)
  return Listing(root, [root / x for x in names], [x.as_posix() for x in names], names, left_aside)


def _by_depth(path: Path) -> tuple[int, Path]:
  return len(path.parts), path


def _of_list(file: Path) -> Listing:
  ids = _ids(file)
  if not ids:
    raise UserError(f'{file} names no image: write a path on each line, or in the column path.')
  if twice := [x for x, count in collections.Counter(ids).items() if count > 1]:
    more = f', as are {len(twice) - 1:,} others' if len(twice) > 1 else ''
    raise UserError(f'{file} names {printable(twice[0])} twice{more}: name each image once.')
  paths = [file.parent / x for x in ids]
  root, names = _named(file.parent, paths, ids)
  if not any(map(os.path.exists, paths)):
    raise UserError(
      f'{file} names {len(ids):,} image(s), and none is there, as {printable(str(paths[0]))}: give '
      'full paths, or paths below the folder of the list.'
    )
  return Listing(root, paths, ids, names, {})


def _named(folder: Path, paths: Sequence[Path], ids: Sequence[str]) -> tuple[Path, list[Path]]:
  """What the names of results are made of, so that none can lead out of the folder of results."""
  below = [Path(os.path.normpath(x)) for x in ids]
  if not any(path.is_absolute() or '..' in path.parts for path in below):
    root = folder
  else:
    full = [os.path.abspath(path) for path in paths]
    root = Path(os.path.commonpath([os.path.dirname(path) for path in full]))
    below = [Path(path).relative_to(root) for path in full]
  if len({*below}) < len(below):
    same = next(x for x, count in collections.Counter(below).items() if count > 1)
    raise UserError(
      f'the list names {printable(str(root / same))} twice, in other words: name each image once.'
    )
  return root, below


def _ids(file: Path) -> list[str]:
  try:
    if file.suffix.lower() == '.parquet':
      return _of_parquet(file)
    text = file.read_bytes().decode('utf-8-sig', 'surrogateescape')
  except OSError as e:
    raise UserError(f'{file} cannot be read ({e.strerror or e}): check the path.') from e
  if file.suffix.lower() == '.txt':
    return [line.rstrip('\r') for line in text.split('\n') if line.strip()]
  table = csv.DictReader(io.StringIO(text, newline=''))
  try:
    columns = table.fieldnames or []
    _check_columns(file, columns)
    return [row[_COLUMN] for row in table if row[_COLUMN]]
  except csv.Error as e:
    raise UserError(f'{file} is no table ({e}): write CSV with a column {_COLUMN}.') from e


def _of_parquet(file: Path) -> list[str]:
  pa, pq = arrow(file)
  try:
    _check_columns(file, pq.read_schema(file).names)
    found = pq.read_table(file, columns=[_COLUMN])[_COLUMN].to_pylist()
  except pa.ArrowException as e:
    raise UserError(f'{file} is no Parquet file that can be read: write it again.') from e
  if not all(isinstance(x, str) for x in found):
    raise UserError(f'{file} has a column {_COLUMN} with values that are no text: mend it.')
  return found


def _check_columns(file: Path, columns: Sequence[str]) -> None:
  if _COLUMN not in columns:
    there = ', '.join(map(printable, columns)) or 'none'
    raise UserError(f'{file} has no column {_COLUMN}, but {there}: name the column so.')
