"""Reads the class file of a folder data set.

    # id = position among the classes; a colour is optional; spaces in names are fine
    sky             128 128 128
    traffic light   250 170 30
    ignore: 11
    label_offset: 0

Three lines may say how label files count: `ignore:` lists ids that stand for no class (255 always
does), `label_offset:` is the id of the first class (0 when absent), `label_ids:` lists the id of
each class if they do not simply count up.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pspnet_jax.data.label_ids import label_table
from pspnet_jax.data.spec import DatasetSpec, default_palette
from pspnet_jax.errors import UserError

_KEYS = ('ignore', 'label_offset', 'label_ids')


@dataclasses.dataclass(frozen=True)
class Classes:
  """What a class file says."""

  names: tuple[str, ...]
  palette: tuple[tuple[int, int, int], ...] | None = None  # None: no colours given
  ignore_ids: tuple[int, ...] = ()
  label_offset: int = 0
  label_ids: tuple[int, ...] | None = None


def spec_and_table(
  classes: Classes,
  *,
  palette: Sequence[Sequence[int]] | None = None,
  ignore_ids: Sequence[int] = (),
  label_offset: int = 0,
  label_ids: Sequence[int] | None = None,
) -> tuple[DatasetSpec, np.ndarray]:
  """Says what labels mean: the classes, and the table from stored ids to them.

  Args:
    classes: their names, and what a class file says of colours and ids.
    palette: an RGB colour for each class, ahead of `classes`; without any, the PASCAL VOC colours.
    ignore_ids: ids that stand for no class, beside those of `classes` and 255.
    label_offset: the id of the first class; 0: that of `classes`.
    label_ids: the id of each class, when they do not simply count up; None: those of `classes`.

  Raises:
    UserError: if ids or colours and classes differ in number, or a colour is none.
  """
  ids = label_ids or classes.label_ids
  if ids is None:
    first = label_offset or classes.label_offset
    ids = range(first, first + len(classes.names))
  if len(ids) != len(classes.names):
    raise UserError(f'{len(ids)} label_ids for {len(classes.names)} classes: give one each.')
  colours = palette or classes.palette or default_palette(len(classes.names))
  if any(len(colour) != 3 for colour in colours):
    raise UserError(f'palette={palette} must have three numbers, RGB in 0-255, for each class.')
  spec = DatasetSpec(classes.names, tuple((r, g, b) for r, g, b in colours))
  return spec, label_table(ids, (*classes.ignore_ids, *ignore_ids))


def read_classes(path: str | Path) -> Classes:
  """Reads a class file.

  Raises:
    UserError: if it is missing or empty, or, naming the line, if a line cannot be understood, a
      name repeats, or only some classes have colours.
  """
  try:
    lines = Path(path).read_text(encoding='utf-8').splitlines()
  except (OSError, UnicodeDecodeError) as error:
    raise UserError(
      f'class file {path} cannot be read: write one class name a line, in the order of their ids.'
    ) from error
  names: list[str] = []
  palette: list[tuple[int, int, int]] = []
  options: dict[str, tuple[int, ...]] = {}
  for number, line in enumerate(lines, 1):
    where = f'{path}:{number}'
    line = line.split('#')[0].strip()
    key, colon, rest = line.partition(':')
    if colon and key in _KEYS:
      if not rest.split() or not all(word.isdigit() for word in rest.split()):
        raise UserError(f'{where}: `{key}:` takes whole numbers, such as `{key}: 11`.')
      options[key] = tuple(int(word) for word in rest.split())
    elif line:
      name, colour = _name_and_colour(line, where)
      if name in names:
        raise UserError(f'{where}: class {name!r} is listed twice, so remove one.')
      if names and bool(colour) != bool(palette):
        raise UserError(f'{where}: give every class a colour or none.')
      names.append(name)
      if colour:
        palette.append(colour)
  if not names:
    raise UserError(f'class file {path} lists no class: write one class name a line.')
  if len(options.get('label_offset', (0,))) != 1:
    raise UserError(f'class file {path}: `label_offset:` takes one number, the first class id.')
  return Classes(
    names=tuple(names),
    palette=tuple(palette) or None,
    ignore_ids=options.get('ignore', ()),
    label_offset=options.get('label_offset', (0,))[0],
    label_ids=options.get('label_ids'),
  )


def _name_and_colour(line: str, where: str) -> tuple[str, tuple[int, int, int] | None]:
  words = line.split()
  numbers = [int(word) for word in words if word.isdigit()]
  if len(words) > 3 and all(word.isdigit() for word in words[-3:]):
    if len(numbers) > 3 or max(numbers) > 255:
      raise UserError(f'{where}: expected `NAME` or `NAME R G B` with 0-255, found {line!r}.')
    red, green, blue = numbers
    return ' '.join(words[:-3]), (red, green, blue)
  if numbers:
    raise UserError(f'{where}: expected `NAME` or `NAME R G B` with 0-255, found {line!r}.')
  return ' '.join(words), None
