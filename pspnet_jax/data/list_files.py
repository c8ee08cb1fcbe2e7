r"""Reads lists of images and labels as tools write them: exactly, or with the line and the cause.

images/a.jpg labels/a.png      a pair, with a tab, spaces or a comma between the two
/images/a.jpg /labels/a.png    in the data folder, if there is no such file at all
images\a.jpg labels\a.png      as Windows writes paths
2007_000032                    the name of an image and of its label, as in PASCAL VOC
# a comment
"""

from __future__ import annotations

import contextlib
import csv
import os
import re
from collections.abc import Iterator
from pathlib import Path

from pspnet_jax.data.image_files import IMAGE_SUFFIXES
from pspnet_jax.data.layout import BY_SPLIT, SPLIT, Layout, Side, normalised, sides_of_split
from pspnet_jax.data.pairing import Pairing, Unpaired, clashes
from pspnet_jax.errors import UserError
from pspnet_jax.runtime.limits import BYTES

_BLANK = ' \t'  # other spaces are parts of names
_HEADING = re.compile(r'(image|img|file|path|name|label|mask|annotation|seg)[\w ]*', re.IGNORECASE)


def pairs_of_list(root: str, list_file: str, split: str = '', layout: Layout = BY_SPLIT) -> Pairing:
  """Pairs as the lines of a file say, each of them an image and its label or the name of both.

  Args:
    root: the data folder.
    list_file: relative to it; `{split}` stands for the split.
    split: its name.
    layout: where the images and labels of names lie, and which share of the lines is the split.

  Raises:
    UserError: if it cannot be read or is empty, or, naming the line, if one cannot be understood.
  """
  if layout.val_share and SPLIT in list_file:
    raise UserError(
      f'val_share={layout.val_share} is for one list of all images, and list_file={list_file} is '
      'one for each split: leave out one of the two.'
    )
  path = Path(root, list_file.replace(SPLIT, split))
  reader, belongs = _Reader(path, Path(root), split, layout), layout.share(split)
  pairs: list[tuple[Path, Path]] = []
  unpaired: list[Unpaired] = []
  listed: dict[str, tuple[int, Path]] = {}  # line and label by image
  for number, line in lines(path):
    image, label, faults = reader.read(number, line)
    unpaired += faults
    if image is None or label is None:
      continue
    first, of_first = listed.setdefault(os.path.normpath(image), (number, label))
    if first != number:
      other = '' if os.path.normpath(label) == os.path.normpath(of_first) else ' with two labels'
      where = f'{image} stands{other} in lines {first} and {number} of {path}'
      message = f'{where}: remove one of the two.'
      unpaired.append(Unpaired('listed twice', image, message))
    elif belongs(os.path.splitext(os.path.relpath(image, root))[0]):
      pairs.append((image, label))
  if not listed and not unpaired:
    raise UserError(f'list file {path} is empty: expected lines of an image and a label.')
  if not pairs and not unpaired:
    raise UserError(
      f'val_share={layout.val_share} leaves none of {len(listed)} lines to {split}: choose another '
      'share, or write a list for each split.'
    )
  return Pairing(pairs, unpaired, layout.share_said(split, len(pairs), path))


def lines(path: Path) -> Iterator[tuple[int, str]]:
  """Gives the lines of a list that are not empty, each with its number, from 1.

  Raises:
    UserError: if the file cannot be read, is too large, or is no text.
  """
  try:
    if path.exists() and not path.is_file():
      raise UserError(f'list file {path} is no file: give a text file with a line for each image.')
    if too_large := BYTES.exceeded_by(path.stat().st_size):
      raise UserError(f'list file {path} has {too_large}.')
    data = path.read_bytes()
  except OSError as error:
    raise UserError(
      f'list file {path} cannot be read ({error.strerror}): check the path.'
    ) from error
  try:
    # Editors and PowerShell of Windows begin a file with a mark of its encoding.
    text = data.decode('utf-16' if data[:2] in (b'\xff\xfe', b'\xfe\xff') else 'utf-8-sig')
  except UnicodeDecodeError as error:
    number = data.count(b'\n', 0, error.start) + 1
    raise UserError(f'{path}:{number} is not encoded in UTF-8: save the list as UTF-8.') from error
  for number, line in enumerate(re.split('\r\n|\r|\n', text), 1):
    if line.strip(_BLANK):
      yield number, line.strip(_BLANK)


class _Reader:
  """Understands the lines of one list."""

  def __init__(self, path: Path, root: Path, split: str, layout: Layout):
    self._path, self._root, self._split, self._layout = path, root, split, layout
    self._sides: tuple[Side, Side] | None = None
    self._listings: dict[Path, dict[str, list[str]]] = {}

  def read(self, number: int, line: str) -> tuple[Path | None, Path | None, list[Unpaired]]:
    """The image and the label of a line, and what is wrong with it; nothing of a comment."""
    readings = _readings(line)
    two = [(reading[0], reading[1]) for reading in readings if len(reading) == 2]
    files = {fields: [self._file(number, field) for field in fields] for fields in two}
    for image, label in files.values():
      if image is not None and label is not None:
        if image == label:
          raise self._refusal(number, f'has {image} as image and as label: name the label')
        return image, label, []
    comment, single = line.startswith('#'), readings == [[line]]
    if single and not comment and line.lower().endswith(IMAGE_SUFFIXES):
      raise self._refusal(
        number,
        'has an image and no label: training and evaluation need both, prediction takes the images '
        'themselves',
      )
    with contextlib.nullcontext() if single and not comment else contextlib.suppress(UserError):
      found = self._named(number, line)
      if found is not None and (single or not found[2]):
        return found
    if comment:
      return None, None, []
    if not two:
      raise self._refusal(
        number,
        f'has {len(readings[0])} fields where an image and a label are expected: put a tab between '
        'them if the names hold spaces',
      )
    self._refuse_other_lists(number, line, two)
    likeliest = max(two, key=lambda fields: (
      sum(file is not None for file in files[fields]),
      sum(field.lower().endswith(IMAGE_SUFFIXES) for field in fields),
    ))  # fmt: skip
    missing = zip(likeliest, files[likeliest], strict=True)
    return None, None, [self._missing(number, field) for field, file in missing if file is None]

  def _refusal(self, number: int, fault: str) -> UserError:
    return UserError(f'{self._path}:{number} {fault}.')

  def _refuse_other_lists(self, number: int, line: str, two: list[tuple[str, str]]) -> None:
    if any(second in ('-1', '0', '1') for _, second in two):
      raise self._refusal(
        number,
        f'says whether an image shows a class ({line}): take the lists of ImageSets/Segmentation, '
        'which have one name a line',
      )
    if number == 1 and any(all(map(_HEADING.fullmatch, fields)) for fields in two):
      raise self._refusal(number, f'is a heading ({line}): remove that line')

  def _missing(self, number: int, field: str) -> Unpaired:
    path = Path(self._root, field)
    fault = 'is no file' if os.path.lexists(path) else 'does not exist'
    if field.startswith('/') and fault == 'does not exist':
      fault = f'exists neither as written nor in {self._root}'
    message = f'{path}, line {number} of {self._path}, {fault}: check the data folder.'
    return Unpaired('missing file', path, message)

  def _named(
    self, number: int, line: str
  ) -> tuple[Path | None, Path | None, list[Unpaired]] | None:
    """The image and the label of an example's name, as PASCAL VOC lists them."""
    if self._sides is None:
      self._sides = sides_of_split(self._root, self._split, self._layout, listed=True)
    images, labels = self._sides
    name = normalised(line.replace('\\', '/'))
    faults = [clash for side in self._sides for clash in clashes(side, name)]
    for side, extension in ((images, '.jpg'), (labels, '.png')):
      if name not in side.files:
        path = side.path_of(name, extension)
        message = f'{path}, line {number} of {self._path}, does not exist: check the data folder.'
        faults.append(Unpaired('missing file', path, message))
    return images.files.get(name), labels.files.get(name), faults

  def _file(self, number: int, field: str) -> Path | None:
    """The file that a list means by a path; None if there is none."""
    slashes = field.replace('\\', '/')
    spellings = dict.fromkeys((field, slashes, field.lstrip('/'), slashes.lstrip('/')))
    paths = [Path(self._root, spelling) for spelling in spellings]
    found = next((path for path in paths if os.path.isfile(path)), None)
    if found is None and not field.isascii():
      found = next((p for path in paths if (p := self._by_equal_names(number, path))), None)
    return found

  def _by_equal_names(self, number: int, path: Path) -> Path | None:
    """The file whose path is equal but for the encoding of accents."""
    here = Path(path.anchor)
    for part in path.parts[bool(path.anchor) :]:
      if os.path.lexists(here / part):
        here /= part
        continue
      if here not in self._listings:
        names: dict[str, list[str]] = {}
        with contextlib.suppress(OSError):
          for name in os.listdir(here):
            names.setdefault(normalised(name), []).append(name)
        self._listings[here] = names
      equal = self._listings[here].get(normalised(part), [])
      if len(equal) > 1:
        raise self._refusal(
          number,
          f'means one of {len(equal)} files called {part} in {here}, which differ only in how '
          'accents are encoded (Unicode NFC and NFD): remove one of them',
        )
      if not equal:
        return None
      here /= equal[0]
    return here if os.path.isfile(here) else None


def _readings(line: str) -> list[list[str]]:
  """The ways to take a line apart into fields, the likeliest first."""
  ways = [line.split('\t')] if '\t' in line else []
  ways.append(re.split('[ \t]+', line))
  for mark in ',;':
    if mark in line:
      with contextlib.suppress(csv.Error):
        ways += csv.reader([line], delimiter=mark, skipinitialspace=True)
  fields = [[field.strip(_BLANK) for field in way] for way in ways]
  for way in fields:
    while len(way) > 1 and not way[-1]:
      way.pop()
  return fields
