"""Examples of a source of one's own, checked as they are read."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from pspnet_jax.data.spec import IGNORE_LABEL, Example, Source
from pspnet_jax.errors import BadData

_OPTIONAL = (
  *('exif', 'table', 'name', 'files', 'image', 'stored_label', 'label'),
  *('unpaired', 'notes'),
)


class Checked:
  """A source whose examples are what `Source` says, or are refused in a sentence.

  Nothing later would complain: an image of numbers from 0 to 1 is nearly black, and a class that
  does not exist is left out of loss and scores.

  Args:
    source: what to read. What it offers besides (`StoredLabels`) is offered here too.

  Raises:
    BadData: on indexing, for an example that is not one, or a file that cannot be read.
  """

  def __init__(self, source: Source):
    self.spec, self._source = source.spec, source
    for name in _OPTIONAL:
      if hasattr(source, name):
        setattr(self, name, getattr(source, name))
    self.made_from = [*getattr(source, 'made_from', ()), *_code_of(source)]

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, index: int) -> Example:
    try:
      example = self._source[index]
    except OSError as e:
      raise BadData(
        'unreadable file', f'example {index} cannot be read ({type(e).__name__}: {e}): mend it.'
      ) from e
    check_example(example, index, self.spec.num_classes)
    return example


def _code_of(source: Source) -> list[str]:
  try:
    return [inspect.getfile(type(source))]
  except (OSError, TypeError):  # typed into a session
    return []


def check_example(example: Any, index: int, num_classes: int) -> None:
  """Raises BadData unless this is an `Example` of so many classes."""
  if not isinstance(example, Mapping) or {'image', 'label', 'name'} - example.keys():
    found = ', '.join(example) if isinstance(example, Mapping) else f'a {type(example).__name__}'
    raise BadData(
      'no example', f'example {index} is {found}: give a dictionary of image, label and name.'
    )
  where = f'example {index} ({example["name"]})'
  for key, dims, wanted in (('image', 3, '[H, W, 3], RGB'), ('label', 2, '[H, W], class ids')):
    array = example[key]
    fits = isinstance(array, np.ndarray) and array.dtype == np.uint8 and array.ndim == dims
    if not fits or (key == 'image' and array.shape[2] != 3):
      dtype, shape = getattr(array, 'dtype', type(array).__name__), getattr(array, 'shape', ())
      raise BadData(
        f'no uint8 {key}',
        f'the {key} of {where} is {dtype} {list(shape)}: give a NumPy array, uint8 {wanted}.',
      )
  image, label = example['image'], example['label']
  if image.shape[:2] != label.shape:
    raise BadData(
      'sizes differ',
      f'the image of {where} is {image.shape[1]}x{image.shape[0]} but its label '
      f'{label.shape[1]}x{label.shape[0]} (width x height): make their sizes equal.',
    )
  illegal = illegal_id(label, num_classes)
  if illegal is not None:
    raise BadData(
      'illegal ids',
      f'the label of {where} holds the id {illegal}, and there are {num_classes} classes: give '
      f'ids from 0 to {num_classes - 1}, and {IGNORE_LABEL} where there is no class.',
    )


def illegal_id(label: np.ndarray, num_classes: int) -> int | None:
  """Returns the first id in a uint8 label that is neither a class nor ignored; None without any."""
  if not label.size or int((label + np.uint8(1)).max()) <= num_classes:  # IGNORE_LABEL becomes 0
    return None
  return int(label[(label >= num_classes) & (label != IGNORE_LABEL)][0])
