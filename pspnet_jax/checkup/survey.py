"""Looks at examples closely: notes all that is wrong with each, not only the first thing.

Training stops at the first file that it cannot use. Whoever mends a data set wants the whole list.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pspnet_jax.checkup.palettes import Colour
from pspnet_jax.checkup.turned import Frame, frame_of
from pspnet_jax.data.decode import exif_orientation, palette_of
from pspnet_jax.data.illegal_ids import holds_colours
from pspnet_jax.data.label_ids import ILLEGAL, map_ids
from pspnet_jax.data.paired_files import sizes_differ
from pspnet_jax.data.spec import IGNORE_LABEL, Source, StoredLabels
from pspnet_jax.errors import BadData, UserError

_MOST_IDS = 1 << 10  # kept of a label


class Fault(NamedTuple):
  """What makes one file unfit for training."""

  kind: str  # such as 'sizes differ', 'empty file'
  where: str  # the file
  message: str  # one sentence that names it


@dataclasses.dataclass
class Record:
  """What one example holds. Figures of a part that cannot be read are empty."""

  index: int
  name: str
  label_file: str  # or the name, if the source has no files
  faults: list[Fault] = dataclasses.field(default_factory=list)
  size: tuple[int, int] | None = None  # height, width of the image
  constant: bool = False  # an image of one colour
  image_hash: str = ''  # hash of the decoded pixels
  label_hash: str = ''
  class_pixels: np.ndarray | None = None  # int64 [C]
  ignored: int = 0  # pixels
  pixels: int = 0  # how many the label has
  ids: dict[int, int] = dataclasses.field(default_factory=dict)  # id or colour -> pixels
  palette: dict[int, Colour] = dataclasses.field(default_factory=dict)  # colour of each stored id
  orientation: int = 1  # EXIF orientation of the image file
  frame: Frame = 'right'  # what the label of a turned image was drawn on

  @property
  def ignored_share(self) -> float:
    return self.ignored / self.pixels if self.pixels else 0.0


def examine(source: Source, index: int) -> Record:
  """Reads one example and notes what is in it and what is wrong with it; never raises UserError.

  Of `StoredLabels`, image and label are read each on its own, and ids as they are stored. Of any
  other source no more is known than what indexing gives or raises.
  """
  if isinstance(source, StoredLabels):
    return _examine_files(source, source.spec.num_classes, index)
  record = Record(index, f'example {index}', f'example {index}')
  example = _attempt(record, record.name, source.__getitem__, index)
  if example is not None:
    record.name = record.label_file = example['name']
    _note_image(record, example['image'])
    _note_label(record, example['label'], source.spec.num_classes)
  return record


def _examine_files(source: StoredLabels, num_classes: int, index: int) -> Record:
  image_path, label_path = source.files(index)
  record = Record(index, source.name(index), str(label_path))
  image = _attempt(record, str(image_path), source.image, index)
  if image is not None:
    _note_image(record, image)
  ids = _attempt(record, str(label_path), source.stored_label, index)
  if ids is None:
    return record
  record.ids = _counts(ids)
  if not holds_colours(source.table) and (palette := palette_of(label_path)):
    record.palette = {i: palette[i] for i in record.ids if i < len(palette)}
  label = _attempt(record, str(label_path), map_ids, label_path, ids, source.table)
  if label is None:  # what is legal in it still counts
    inside = ids[(ids >= 0) & (ids < len(source.table))]
    mapped = source.table[inside]
    label = mapped[mapped != ILLEGAL].astype(np.uint8)
  _note_label(record, label, num_classes)
  record.pixels, record.label_hash = ids.size, _hash(ids)
  if image is not None and image.shape[:2] != ids.shape:
    error = sizes_differ(image_path, image.shape, label_path, ids.shape)
    record.faults.append(Fault(error.kind, str(label_path), str(error)))
  elif image is not None and (orientation := exif_orientation(image_path)) != 1:
    exif = getattr(source, 'exif', 'upright')
    record.orientation, record.frame = orientation, frame_of(image, ids, orientation, exif)
  return record


def _counts(ids: np.ndarray) -> dict[int, int]:
  """Pixels of each id; of the most frequent ones, where there are many: a picture, not a label."""
  if ids.dtype.kind == 'u':  # several times faster than sorting
    counts = np.bincount(ids.ravel())
    values = np.flatnonzero(counts)
    counts = counts[values]
  else:  # by runs of one value, which are few in a label
    flat = ids.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    values, which = np.unique(flat[starts], return_inverse=True)
    counts = np.bincount(which, np.diff(starts, append=flat.size)).astype(np.int64)
  if len(values) > _MOST_IDS:
    kept = np.argsort(-counts, kind='stable')[:_MOST_IDS]
    values, counts = values[kept], counts[kept]
  return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _attempt(record: Record, where: str, read: Callable[..., Any], *arguments: Any) -> Any:
  """What `read` returns, or None and a fault."""
  try:
    return read(*arguments)
  except UserError as e:
    kind = e.kind if isinstance(e, BadData) else 'unusable example'
    record.faults.append(Fault(kind, where, str(e)))
    return None


def _note_image(record: Record, image: np.ndarray) -> None:
  record.size = image.shape[0], image.shape[1]
  record.constant = bool((image == image[0, 0]).all())
  record.image_hash = _hash(image)


def _note_label(record: Record, label: np.ndarray, num_classes: int) -> None:
  counts = np.bincount(label.ravel(), minlength=256)
  record.class_pixels = counts[:num_classes]
  record.ignored, record.pixels = int(counts[IGNORE_LABEL]), label.size
  record.label_hash = _hash(label)


def _hash(array: np.ndarray) -> str:
  digest = hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=16)
  digest.update(str(array.shape).encode())
  return digest.hexdigest()
