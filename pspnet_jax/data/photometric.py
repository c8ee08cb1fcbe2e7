"""The colour jitters of open-mmlab/mmsegmentation, through look-up tables, and of PaddleSeg."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
  from PIL.Image import Image

BRIGHTNESS = 32.0  # the most that is added or taken off
CONTRAST = SATURATION = (0.5, 1.5)  # factors
HUE = 18  # the most it is turned, in steps of two degrees
PILLOW_HUE = 18  # the same in PaddleSeg, in 256ths of the circle
_ENHANCE = {'brightness': 'Brightness', 'contrast': 'Contrast', 'saturation': 'Color'}  # Pillow's


@dataclasses.dataclass(frozen=True)
class Distortion:
  """Brightness, contrast, saturation and hue of an image (mmseg's PhotoMetricDistortion).

  Each changes half of the images. Contrast comes second or last, with equal chances. Every step
  rounds to uint8, towards zero, as in mmseg/datasets/transforms/transforms.py; what is None is not
  the same as a change by nothing, which would go to HSV and back.
  """

  brightness: float | None = None
  contrast: float | None = None
  contrast_last: bool = False
  saturation: float | None = None
  hue: int | None = None

  @classmethod
  def sample(cls, rng: np.random.Generator) -> Distortion:
    """Draws one; always nine random numbers."""
    do, last, amount = rng.random(4) < 0.5, rng.random() < 0.5, rng.random(4)
    contrast, saturation = (
      float(low + (high - low) * x)
      for (low, high), x in zip((CONTRAST, SATURATION), amount[1:3], strict=True)
    )
    return cls(
      brightness=float(BRIGHTNESS * (2 * amount[0] - 1)) if do[0] else None,
      contrast=contrast if do[1] else None,
      contrast_last=bool(last),
      saturation=saturation if do[2] else None,
      hue=int(np.floor(2 * HUE * amount[3])) - HUE if do[3] else None,
    )

  def apply(self, image: np.ndarray) -> np.ndarray:
    """RGB uint8 [h, w, 3] to the same."""
    values = np.arange(256)
    if self.brightness is not None:
      values = _convert(values, 1.0, self.brightness)
    if self.contrast is not None and not self.contrast_last:
      values = _convert(values, self.contrast, 0.0)
    image = cv2.LUT(image, values.astype(np.uint8))
    same = np.arange(256)
    if self.saturation is not None:
      image = _in_hsv(image, same, _convert(same, self.saturation, 0.0))
    if self.hue is not None:
      image = _in_hsv(image, (same + self.hue) % 180, same)
    if self.contrast is not None and self.contrast_last:
      image = cv2.LUT(image, _convert(same, self.contrast, 0.0).astype(np.uint8))
    return image


@dataclasses.dataclass(frozen=True)
class Jitter:
  """Brightness, contrast, saturation and hue in random order (PaddleSeg's RandomDistort).

  Each changes half of the images, by Pillow's ImageEnhance and in Pillow's HSV, as in
  paddleseg/transforms/functional.py.

  Attributes:
    steps: what to do with which amount, in this order; a factor, or how far the hue is turned.
  """

  steps: tuple[tuple[str, float], ...]

  @classmethod
  def sample(cls, strength: float, rng: np.random.Generator) -> Jitter:
    """Draws one, with factors from 1 - strength to 1 + strength; always twelve random numbers."""
    order, do, amount = np.argsort(rng.random(4)), rng.random(4) < 0.5, 2 * rng.random(4) - 1
    amounts = {name: float(1 + strength * x) for name, x in zip(_ENHANCE, amount, strict=False)}
    amounts['hue'] = float(PILLOW_HUE * amount[-1])
    names = [*amounts]
    return cls(tuple((names[i], amounts[names[i]]) for i in order if do[i]))

  def apply(self, image: np.ndarray) -> np.ndarray:
    """RGB uint8 [h, w, 3] to the same."""
    from PIL import Image, ImageEnhance  # the rest of the augmentation does without

    pillow = Image.fromarray(image)
    for name, amount in self.steps:
      if name == 'hue':
        pillow = _turned(pillow, amount)
      else:
        pillow = getattr(ImageEnhance, _ENHANCE[name])(pillow).enhance(amount)
    return np.array(pillow)


def _turned(image: Image, by: float) -> Image:
  """Turns the hue, 256 values of the circle, rounded towards 0."""
  from PIL import Image

  table = np.trunc(np.arange(256) + by).astype(int) % 256
  hue, *others = image.convert('HSV').split()
  return Image.merge('HSV', (hue.point(table.tolist()), *others)).convert('RGB')


def _convert(values: np.ndarray, factor: float, offset: float) -> np.ndarray:
  return np.clip(values.astype(np.float32) * factor + offset, 0, 255).astype(np.uint8)


def _in_hsv(image: np.ndarray, hue: np.ndarray, saturation: np.ndarray) -> np.ndarray:
  """Maps hue (0-179) and saturation through tables of 256 values."""
  table = np.stack([hue, saturation, np.arange(256)], -1).astype(np.uint8)[None]
  hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), table)
  return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
