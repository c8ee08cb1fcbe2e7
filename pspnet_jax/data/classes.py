"""What the classes of a data set are called, and what stands for them in its label files.

    # id = position among the classes; a colour is optional; spaces in names are fine
    sky             128 128 128
    traffic light   250 170 30
    ignore: 11
    label_offset: 0

Class files of other tools are read, too: `class_files` says which. Four lines may say what label
files hold: `labels:` is `ids` or `colours`; `ignore:` lists ids, or colours, that stand for no
class (the id 255 always does); `label_offset:` is the id of the first class; `label_ids:` lists
the ids of each class if they do not simply count up, `7 8+11` for two classes.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pspnet_jax.data.class_files import Colour, Line, Row, is_of_cvat, read_lines, read_rows
from pspnet_jax.data.label_ids import colour_table, label_table
from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError, nearest

Labels = Literal['ids', 'colours']  # what label files hold

_OPTIONS = ('ignore', 'label_offset', 'label_ids', 'labels')
_OPTION = re.compile(r'([A-Za-z_]+)\s*:(.*)')
_ID_OR_COLOUR = re.compile(r'#([0-9a-fA-F]{6})|([0-9]{1,9})')


@dataclasses.dataclass(frozen=True)
class Classes:
  """What a class file says."""

  names: tuple[str, ...]
  colours: tuple[tuple[Colour, ...], ...] | None = None  # of each class, the first to show it in
  ignore_ids: tuple[int | Colour, ...] = ()
  label_offset: int = 0
  label_ids: tuple[int | tuple[int, ...], ...] | None = None
  labels: Labels = 'ids'

  @property
  def palette(self) -> tuple[Colour, ...] | None:
    """The colour that shows each class; None if none are given."""
    return None if self.colours is None else tuple(colours[0] for colours in self.colours)


def spec_and_table(
  classes: Classes,
  *,
  palette: Sequence[Sequence[int] | Sequence[Sequence[int]]] | None = None,
  ignore_ids: Sequence[int | Sequence[int]] = (),
  label_offset: int = 0,
  label_ids: Sequence[int | Sequence[int]] | None = None,
  labels: Labels | None = None,
) -> tuple[DatasetSpec, np.ndarray]:
  """Says what labels mean: the classes, and the table from what label files hold to them.

  Args:
    classes: their names, and what a class file says of colours and ids.
    palette: an RGB colour for each class, or several of which the first shows it, ahead of
      `classes`; without any, those of `palettes.default_palette`.
    ignore_ids: ids that stand for no class, beside those of `classes` and 255; or colours.
    label_offset: the id of the first class; 0: that of `classes`.
    label_ids: the id of each class, or several, when they do not simply count up; None: those of
      `classes`.
    labels: 'ids', or 'colours' if label files hold the colours of the classes; None: what
      `classes` says.

  Returns:
    The spec, and the table of `label_ids.label_table` or `label_ids.colour_table`.

  Raises:
    UserError: if ids or colours and classes differ in number or contradict each other.
  """
  colours = classes.colours if palette is None else tuple(map(_several, palette))
  names = classes.names
  shown = default_palette(len(names)) if colours is None else tuple(own[0] for own in colours)
  spec = DatasetSpec(names, shown)
  ignored = (*classes.ignore_ids, *ignore_ids)
  offset, given = label_offset or classes.label_offset, label_ids or classes.label_ids
  labels = labels or classes.labels
  if labels == 'colours':
    if colours is None:
      raise UserError(
        'labels: colours needs a colour for each class: add them to the class file, or give a '
        'palette with class_names.'
      )
    if offset or label_ids:
      raise UserError('labels: colours leaves no ids: drop label_offset and label_ids.')
    return spec, colour_table(colours, list(_colours_in(ignored)), names)
  if labels != 'ids':
    raise UserError(f"labels is {labels!r}: give 'ids' or 'colours'.")
  for own, name in zip(colours or (), names, strict=False):
    if len(own) > 1:
      raise UserError(f'class {name!r} has several colours: that needs the line `labels: colours`.')
  plain = [int(value) for value in ignored if isinstance(value, int | np.integer)]
  if len(plain) < len(ignored):
    raise UserError(f'ignore: {ignored} holds a colour: that needs the line `labels: colours`.')
  ids = range(offset, offset + len(names)) if given is None else given
  if len(ids) != len(names):
    raise UserError(f'{len(ids)} label_ids for {len(names)} classes: give one each.')
  if given is not None and offset:
    raise UserError(f'label_offset={offset} and label_ids contradict each other: give one of them.')
  return spec, label_table(ids, plain)


def read_classes(path: str | Path) -> Classes:
  """Reads a class file.

  Raises:
    UserError: if it is missing or empty, or, naming the line, if a line cannot be understood, a
      name repeats, or only some classes have colours.
  """
  table: list[Line] = []
  options: dict[str, str] = {}
  for line in read_lines(path):
    option = None if is_of_cvat(line.text) else _OPTION.fullmatch(line.text)
    if option is None or option[1] == 'names':
      table.append(line)
    elif option[1] not in _OPTIONS:
      near = nearest(option[1], _OPTIONS)
      hint = f'write `{near}:` if you meant that, and' if near else 'if it is a class,'
      raise UserError(
        f'{line.where}: `{option[1]}:` is no option of a class file: {hint} put a class whose name '
        'has a colon in double quotes.'
      )
    elif option[1] == 'ignore':  # may go on
      options['ignore'] = f'{options.get("ignore", "")} {option[2]}'
      _values(option[2], 'ignore', line.where)
    elif option[1] in options:
      raise UserError(f'{line.where}: `{option[1]}:` is given twice: keep one of the two.')
    else:
      options[option[1]] = option[2]
  rows = read_rows(table)
  if not rows:
    raise UserError(f'class file {path} lists no class: write one class name a line.')
  names: set[str] = set()
  for row in rows:
    if row.name in names:
      raise UserError(f'{row.where}: class {row.name!r} is listed twice, so remove one.')
    if bool(row.colours) != bool(rows[0].colours):
      raise UserError(f'{row.where}: give every class a colour or none.')
    names.add(row.name)
  where = f'class file {path}'
  offset = _values(options.get('label_offset', '0'), 'label_offset', where)
  if len(offset) != 1 or not isinstance(offset[0], int):
    raise UserError(f'{where}: `label_offset:` takes one number, the first class id.')
  labels = options.get('labels', 'ids').strip()
  if labels not in ('ids', 'colours'):
    raise UserError(
      f'{where}: `labels: {labels}` is unknown: write `labels: ids` or `labels: colours`.'
    )
  if labels == 'colours' and options.keys() & {'label_offset', 'label_ids'}:
    raise UserError(
      f'{where}: `labels: colours` leaves no ids: drop `label_offset:` and `label_ids:`.'
    )
  return Classes(
    names=tuple(row.name for row in rows),
    colours=tuple(row.colours for row in rows) if rows[0].colours else None,
    ignore_ids=_values(options['ignore'], 'ignore', where) if 'ignore' in options else (),
    label_offset=offset[0],
    label_ids=_ids(rows, options, where),
    labels='colours' if labels == 'colours' else 'ids',
  )


def _ids(
  rows: Sequence[Row], options: Mapping[str, str], where: str
) -> tuple[int | tuple[int, ...], ...] | None:
  """The ids of the classes: those of a line `label_ids:`, or beside the names."""
  if 'label_ids' in options:
    if rows[0].id is not None:
      raise UserError(f'{where}: ids stand beside the names and after `label_ids:`: keep one.')
    words = options['label_ids'].replace(',', ' ').split()
    return tuple(_group(word, where) for word in words)
  ids = tuple(row.id for row in rows if row.id is not None)
  return ids if ids and ids != tuple(range(len(rows))) else None


def _group(word: str, where: str) -> int | tuple[int, ...]:
  """An id, or several of one class: `8+11`."""
  if not all(re.fullmatch('[0-9]{1,9}', part) for part in word.split('+')):
    raise UserError(f'{where}: `label_ids:` takes whole numbers, such as `label_ids: 7 8+11`.')
  ids = tuple(map(int, word.split('+')))
  return ids if len(ids) > 1 else ids[0]


def _values(text: str, key: str, where: str) -> tuple[int | Colour, ...]:
  """Whole numbers and #RRGGBB, with spaces or commas between them."""
  matches = [_ID_OR_COLOUR.fullmatch(word) for word in text.replace(',', ' ').split()]
  if not matches or None in matches:
    raise UserError(f'{where}: `{key}:` takes whole numbers, such as `{key}: 11`.')
  return tuple(_value(match) for match in matches if match)


def _value(match: re.Match[str]) -> int | Colour:
  if match[2]:
    return int(match[2])
  red, green, blue = bytes.fromhex(match[1])
  return red, green, blue


def _several(entry: Sequence[int] | Sequence[Sequence[int]]) -> tuple[Colour, ...]:
  """The colours of an entry of a palette, which is one or holds several."""
  colours: Any = [entry] if len(entry) and np.ndim(entry[0]) == 0 else entry
  if not len(colours) or any(np.shape(colour) != (3,) for colour in colours):
    raise UserError(f'palette={entry} must have three numbers, RGB in 0-255, for each class.')
  return tuple((int(r), int(g), int(b)) for r, g, b in colours)


def _colours_in(values: Sequence[int | Sequence[int]]) -> Iterator[Colour]:
  """Colours out of colours, or of numbers in threes."""
  numbers = [int(x) for value in values for x in np.ravel(value)]
  if len(numbers) % 3:
    raise UserError(f'ignore: {values} are no colours: give three numbers, RGB in 0-255, for each.')
  yield from zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True)
