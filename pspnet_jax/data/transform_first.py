"""A NumPy transform of one's own, before the augmentation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pspnet_jax.data.checked import illegal_id
from pspnet_jax.data.spec import IGNORE_LABEL, Example
from pspnet_jax.errors import UserError

OwnTransform = Callable[[Example, np.random.Generator], Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class TransformFirst:
  """Calls a transform of one's own, checks what it returns, and then augments that.

  The transform sees whole images as the source has them, so that whatever works on images and
  labels of any size can be used, such as albumentations:

      def shadows(example, rng):
        image = example['image']  # uint8 [H, W, 3], RGB
        image[:, : rng.integers(image.shape[1])] //= 2
        return {'image': image, 'label': example['label']}

  It may change the arrays it is given, which are copies, and the size of image and label alike. All
  its random numbers must come from `rng`, which makes a batch a function of the seed and the step;
  the augmentation draws from it afterwards. It is called from several threads at once.

  Attributes:
    transform: the transform.
    augment: what comes after it, such as an `Augment`.
    num_classes: the label's ids lie below this, or are `IGNORE_LABEL`.
  """

  transform: OwnTransform
  augment: Callable[[Example, np.random.Generator], dict[str, np.ndarray]]
  num_classes: int

  def __call__(self, example: Example, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Transforms and augments an example.

    Raises:
      UserError: if the transform returns anything but an image and a label that fit each other.
    """
    name = example['name']
    given: Example = {
      'image': example['image'].copy(),
      'label': example['label'].copy(),
      'name': name,
    }
    try:
      found = self.transform(given, rng)
    except Exception as error:
      error.add_note(f'This was raised by {_name(self.transform)}, given {name}.')
      raise
    image, label = self._checked(found, name)
    return self.augment({'image': image, 'label': label, 'name': name}, rng)

  def _checked(self, found: object, name: str) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(found, Mapping) or not {'image', 'label'} <= found.keys():
      raise self._refused(_kind(found), name, "return a dict with 'image' and 'label'")
    image, label = found['image'], found['label']
    if not _is_uint8(image, 3) or image.shape[2] != 3 or not image.size:
      raise self._refused(f'an image of {_kind(image)}', name, 'return uint8 [H, W, 3]')
    if not _is_uint8(label, 2):
      raise self._refused(f'a label of {_kind(label)}', name, 'return uint8 [H, W]')
    if image.shape[:2] != label.shape:
      sizes = f'an image of {image.shape[:2]} and a label of {label.shape} pixels'
      raise self._refused(sizes, name, 'change the size of both alike')
    illegal = illegal_id(label, self.num_classes)
    if illegal is not None:
      remedy = f'ids lie below {self.num_classes}, and {IGNORE_LABEL} is ignored'
      raise self._refused(f'the label id {illegal}', name, remedy)
    return np.ascontiguousarray(image), np.ascontiguousarray(label)

  def _refused(self, what: str, name: str, remedy: str) -> UserError:
    return UserError(f'{_name(self.transform)} returned {what} for {name}: {remedy}.')


def _is_uint8(value: object, dimensions: int) -> bool:
  return isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == dimensions


def _kind(value: object) -> str:
  """Names a value's kind, for the sentence that refuses it."""
  if isinstance(value, np.ndarray):
    return f'{value.dtype} {list(value.shape)}'
  if isinstance(value, Mapping):
    return f'a dict with {", ".join(map(repr, value)) or "nothing"}'
  return 'None' if value is None else f'an object of type {type(value).__name__}'


def _name(transform: OwnTransform) -> str:
  named = transform if hasattr(transform, '__qualname__') else type(transform)
  return f'{named.__module__}:{named.__qualname__}'
