"""Where the images and labels of a data folder lie, and what they are called."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

from pspnet_jax.data.image_files import IMAGE_SUFFIXES, counted, image_files
from pspnet_jax.errors import UserError

SPLIT = '{split}'  # stands for the split in the name of a folder or list


@dataclasses.dataclass(frozen=True)
class Layout:
  """The patterns of names.

  Attributes:
    image_folder, label_folder: relative to the data folder; `{split}` stands for the split. They
      may be the same if the suffixes differ.
    image_suffix, label_suffix: how the names end before the extension, such as '_leftImg8bit', or
      with it, such as '_labelIds.png'. Files that end otherwise are set aside.
    val_share: the share of all examples that is the split 'val', where that has no folder.

  Raises:
    UserError: for a share that is none.
  """

  image_folder: str = 'images/{split}'
  label_folder: str = 'labels/{split}'
  image_suffix: str = ''
  label_suffix: str = ''
  val_share: float = 0.0

  def __post_init__(self) -> None:
    if not 0 <= self.val_share < 1:
      raise UserError(f'val_share={self.val_share}: give a share from 0 to below 1, such as 0.1.')

  @property
  def expected(self) -> str:
    """What a data folder should look like, for the end of a sentence."""
    image = _file_name(f'{self.image_folder}/NAME', self.image_suffix, '.jpg')
    label = _file_name(f'{self.label_folder}/NAME', self.label_suffix, '.png')
    return f'expected {image} with {label} in the data folder'.replace(SPLIT, '<split>')

  def share(self, split: str) -> Callable[[str], bool]:
    """Says of the name of an example whether it belongs to the split; without a share, all do.

    It follows from the name alone: an example stays where it is when others come or go.

    Raises:
      UserError: for a split that a share does not make.
    """
    if not self.val_share:
      return lambda name: True
    if split not in ('train', 'val'):
      raise UserError(
        f"val_share={self.val_share} makes the splits 'train' and 'val', and {split!r} is neither: "
        'ask for one of the two.'
      )

    def belongs(name: str) -> bool:
      data = normalised(name).encode(errors='surrogateescape')
      place = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), 'big')
      return (place < self.val_share * 2**64) == (split == 'val')

    return belongs

  def share_said(self, split: str, count: int, where: Path) -> list[str]:
    """A note about a split that is a share of all examples; none without a share."""
    if not self.val_share:
      return []
    rule = f'chosen by their names (val_share={self.val_share})'
    return [f'{where}: {count:,} example(s) are the split {split}, {rule}.']


BY_SPLIT = Layout()


@dataclasses.dataclass
class Side:
  """The images of a split, or its labels: the files of a folder whose names end in a suffix."""

  folder: Path
  suffix: str
  files: dict[str, Path] = dataclasses.field(default_factory=dict)  # by the example's name
  clashes: dict[str, list[Path]] = dataclasses.field(default_factory=dict)  # more of one name
  set_aside: list[Path] = dataclasses.field(default_factory=list)  # images of other names
  left_aside: dict[Path, str] = dataclasses.field(default_factory=dict)  # no images

  def stem(self, path: Path) -> str:
    """The path of a file below the folder, without extension."""
    return os.path.splitext(self._below(path))[0]

  def name(self, path: Path) -> str | None:
    """The name of the example that a file belongs to; None if it does not end in the suffix."""
    name = self._below(path) if _has_extension(self.suffix) else self.stem(path)
    start = len(name) - len(self.suffix)
    return name[:start] if start >= 0 and name[start:].lower() == self.suffix.lower() else None

  def path_of(self, name: str, extension: str) -> Path:
    """Where the file of an example would be."""
    return self.folder / _file_name(name, self.suffix, extension)

  def notes(self) -> list[str]:
    """What lies in the folder and was left out, a sentence each."""
    notes = []
    if self.set_aside:
      count, name = len(self.set_aside), self.set_aside[0].name
      others = f'{count:,} file(s) whose names do not end in {self.suffix!r}, such as {name}'
      notes.append(f'{self.folder}: {others}, are set aside.')
    if self.left_aside:
      notes.append(f'{self.folder}: left aside as no images: {counted(self.left_aside)}.')
    return notes

  def _below(self, path: Path) -> str:
    text, folder = str(path), f'{self.folder}/'
    return normalised(text.removeprefix(folder))


def normalised(name: str) -> str:
  """A name in the form in which equal names are equal: macOS takes letters and accents apart."""
  return name if name.isascii() else unicodedata.normalize('NFC', name)


def sides_of_split(
  root: Path, split: str, layout: Layout, *, listed: bool = False
) -> tuple[Side, Side]:
  """The images and the labels in the folders of a split, whether they have partners or not.

  Args:
    root: the data folder.
    split: its name.
    layout: where they lie.
    listed: a list says which of them are meant, so that one folder may serve several splits.

  Raises:
    UserError: if a folder does not exist, or images cannot be told from labels.
  """
  folders = _folders(root, split, layout, listed)
  images = Side(folders[0], normalised(layout.image_suffix))
  labels = Side(folders[1], normalised(layout.label_suffix))
  found = []
  for side in (images, labels):
    files, side.left_aside = image_files(side.folder)
    found.append({path: side.name(path) for path in files})
  # One folder may hold both, or the one lie in the other: the narrower description goes first.
  narrow = [(len(side.folder.parts), len(side.suffix)) for side in (images, labels)]
  for side, own, other, first in (
    (images, found[0], found[1], narrow[0] > narrow[1]),
    (labels, found[1], found[0], narrow[1] > narrow[0]),
  ):
    for path, name in own.items():
      of_other = other.get(path) is not None
      if name is not None and of_other and narrow[0] == narrow[1]:
        raise UserError(
          f'{path} would be an image and a label: give another --config.data.label_folder, or, if '
          'the names of the labels end so, --config.data.label_suffix=_mask.'
        )
      if name is not None and (first or not of_other):
        if side.files.setdefault(name, path) is not path:
          side.clashes.setdefault(name, []).append(path)
      elif not of_other:
        side.set_aside.append(path)
  return images, labels


def _folders(root: Path, split: str, layout: Layout, listed: bool) -> tuple[Path, Path]:
  """The folders of a split, which may be those of all splits."""
  patterns = layout.image_folder, layout.label_folder

  def filled(name: str) -> tuple[Path, Path]:
    return root / patterns[0].replace(SPLIT, name), root / patterns[1].replace(SPLIT, name)

  def exist(folders: tuple[Path, Path]) -> bool:
    return folders[0].is_dir() and folders[1].is_dir()

  by_split = any(SPLIT in pattern for pattern in patterns)
  bare = [root / '/'.join(x for x in p.split('/') if x != SPLIT) for p in patterns]
  whole = filled('train') if exist(filled('train')) else (bare[0], bare[1])
  folders = filled(split)
  if layout.val_share and by_split:
    if exist(filled('val')):
      raise UserError(
        f'val_share={layout.val_share} is for data without a validation split, and '
        f'{filled("val")[0]} exists: leave val_share out, or rename that folder.'
      )
    folders = whole if exist(whole) else folders
  elif split and not by_split and not layout.val_share and not listed:
    raise UserError(
      f'{folders[0]} would be the split {split} and every other one: give '
      '--config.data.val_share=0.1 to set a tenth of its images apart, or a list for each split.'
    )
  for folder in folders:
    if not folder.is_dir():
      above = next((p for p in folder.parents if p.is_dir()), root)
      there = sorted(p.name for p in above.iterdir() if p.is_dir() and not p.name.startswith('.'))
      share = ', or give --config.data.val_share=0.1 to set a tenth apart for validation'
      raise UserError(
        f'{folder} does not exist (in {above}: {", ".join(there) or "no folder"}): '
        f'{layout.expected}{share if by_split and exist(whole) else ""}.'
      )
  return folders


def _has_extension(suffix: str) -> bool:
  return suffix.lower().endswith(IMAGE_SUFFIXES)


def _file_name(name: str, suffix: str, extension: str) -> str:
  return f'{name}{suffix}{"" if _has_extension(suffix) else extension}'
