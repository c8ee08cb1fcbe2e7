"""What the labels of a data set mean, and what a data source has to offer."""

from __future__ import annotations

import dataclasses
import unicodedata
from pathlib import Path
from typing import Annotated, Literal, Protocol, TypedDict, runtime_checkable

import numpy as np

from pspnet_jax.errors import UserError

IGNORE_LABEL = 255  # never a class: left out of the loss, of augmentation's padding and of metrics
# An argument of a source: a folder or a file, from wherever the command was started.
PathText = Annotated[str, 'path']
Exif = Literal['upright', 'stored']  # whether images are turned as their EXIF data say
IMAGENET_MEAN = (123.675, 116.28, 103.53)  # RGB, 0-255 (torchvision's .485, .456, .406)
IMAGENET_STD = (58.395, 57.12, 57.375)


class Example(TypedDict):
  """One image with its label; the same height and width."""

  image: np.ndarray  # uint8 [H, W, 3], RGB
  label: np.ndarray  # uint8 [H, W], class ids and IGNORE_LABEL
  name: str  # unique within the source, safe as a file name without extension


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
  """Names and colours of the classes; class id = position.

  Names that look the same are the same: they are kept in Unicode's composed form (NFC).

  Raises:
    UserError: if names repeat, colours and names differ in number, or there are too many for uint8
      or too few to tell anything apart.
  """

  class_names: tuple[str, ...]
  palette: tuple[tuple[int, int, int], ...]  # RGB, 0-255

  def __post_init__(self):
    names = tuple(unicodedata.normalize('NFC', name) for name in self.class_names)
    object.__setattr__(self, 'class_names', names)
    if len(self.class_names) == 1:
      raise UserError(
        f'{self.class_names[0]!r} is the only class, and a network of one class can only answer '
        'it: add what else there is, such as background, to the classes.'
      )
    if not 2 <= len(self.class_names) <= IGNORE_LABEL:
      raise UserError(
        f'{len(self.class_names)} classes: a uint8 label holds 2 to {IGNORE_LABEL} classes.'
      )
    repeated = {name for name in self.class_names if self.class_names.count(name) > 1}
    if repeated:
      raise UserError(f'class name {min(repeated)!r} is used twice: make the names unique.')
    if len(self.palette) != len(self.class_names):
      raise UserError(
        f'{len(self.palette)} palette colours for {len(self.class_names)} classes: give one each.'
      )

    for name, colour in zip(self.class_names, self.palette, strict=True):
      if len(colour) != 3 or not all(0 <= value <= 255 for value in colour):
        raise UserError(f'the colour {colour} of class {name!r} is not three values from 0 to 255.')

  @property
  def num_classes(self) -> int:
    return len(self.class_names)


class Source(Protocol):
  """Random access to examples; indexing is pure and safe from several threads.

  A source may have a method `label(index)` besides, which reads no image: rare classes are then
  counted faster.
  """

  spec: DatasetSpec

  def __len__(self) -> int: ...

  def __getitem__(self, index: int) -> Example: ...


@runtime_checkable
class StoredLabels(Protocol):
  """What a source of files offers besides, so that the doctor sees what the files hold.

  `paired_files.PairedFiles` has it all.
  """

  table: np.ndarray  # from what the files hold to class ids; see `data.label_ids`

  def name(self, index: int) -> str: ...

  def files(self, index: int) -> tuple[Path, Path]: ...  # image, label

  def image(self, index: int) -> np.ndarray: ...  # uint8 [H, W, 3]

  def stored_label(self, index: int) -> np.ndarray: ...  # ids or packed colours, integers [H, W]
