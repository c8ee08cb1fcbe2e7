"""The training augmentations of hszhao/semseg (the default) and open-mmlab/mmsegmentation.

Their transforms make whole images, one after another, of which the crop throws most away. Here all
is drawn first, and only what the crop will show is made: see `warp`.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from pspnet_jax.data.photometric import Distortion
from pspnet_jax.data.sizes import fit_size
from pspnet_jax.data.spec import IGNORE_LABEL, IMAGENET_MEAN, Example
from pspnet_jax.data.warp import Canvas, warp_image, warp_label
from pspnet_jax.errors import UserError

MORE_CROPS = 10  # that mmseg's RandomCrop may draw after the first


@dataclasses.dataclass(frozen=True)
class Draw(Canvas):
  """What happens to one example, beside its becoming a canvas."""

  blur: bool
  flip: bool
  top: int  # of the crop, on the canvas padded to at least the crop's size
  left: int
  distortion: Distortion | None = None


@dataclasses.dataclass(frozen=True)
class Augment:
  """Random scale, rotation, blur, horizontal flip and crop (semseg's transforms, in that order).

  With `base_size`=(2048, 512), `cat_max_ratio`=0.75, `photometric` and without rotation and blur it
  is mmseg's pipeline for ADE20K: RandomResize, RandomCrop, RandomFlip, PhotoMetricDistortion
  (mmseg/datasets/transforms/transforms.py and mmcv/transforms/processing.py).

  Attributes:
    crop_size: height and width of what comes out.
    scale: range of the uniformly drawn scale.
    rotate: range of the uniformly drawn angle in degrees.
    rotate_probability: of rotating at all. The paper rotates and blurs for ADE20K and VOC only.
    blur_probability: of a 5x5 Gaussian blur.
    flip_probability: of mirroring left and right.
    mean: RGB colour around the image; around the label is IGNORE_LABEL. mmseg pads with 0 after it
      has subtracted the mean, which is the same.
    base_size: the drawn scale is of the largest size that fits this box, whichever side is the
      longer; None: of the image's own.
    cat_max_ratio: a crop of one class, or of which one class has this share or more of the labelled
      pixels, is drawn anew, up to ten times; 1: every crop will do.
    photometric: see `Distortion`.
    pad_centred: an image below the crop's size goes into its middle (semseg); else into the corner
      at the top and left (mmseg).

  Raises:
    UserError: for an empty crop, a range that is reversed, or a probability outside 0-1.
  """

  crop_size: tuple[int, int]
  scale: tuple[float, float] = (0.5, 2.0)
  rotate: tuple[float, float] = (-10.0, 10.0)
  rotate_probability: float = 0.5
  blur_probability: float = 0.5
  flip_probability: float = 0.5
  mean: tuple[float, float, float] = IMAGENET_MEAN
  base_size: tuple[int, int] | None = None
  cat_max_ratio: float = 1.0
  photometric: bool = False
  pad_centred: bool = True

  def __post_init__(self):
    if len(self.crop_size) != 2 or min(self.crop_size) < 1:
      raise UserError(f'crop_size={self.crop_size} must be a height and a width of 1 or more.')
    if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1]:
      raise UserError(f'scale={self.scale} must be a range of positive numbers, lower one first.')
    if len(self.rotate) != 2 or not -180 <= self.rotate[0] <= self.rotate[1] <= 180:
      raise UserError(f'rotate={self.rotate} must be a range of degrees, lower one first.')
    if self.base_size is not None and (len(self.base_size) != 2 or min(self.base_size) < 1):
      raise UserError(f'base_size={self.base_size} must be two numbers of pixels, or None.')
    for name in ('rotate_probability', 'blur_probability', 'flip_probability', 'cat_max_ratio'):
      if not 0 <= getattr(self, name) <= 1:
        raise UserError(f'{name}={getattr(self, name)} must lie between 0 and 1.')
    if len(self.mean) != 3:
      raise UserError(f'mean={self.mean} must be three numbers, RGB in 0-255.')

  def __call__(self, example: Example, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Augments image and label alike; see `apply`."""
    label = example['label']
    draw = self.sample(rng, *label.shape)
    if self.cat_max_ratio < 1:
      draw = self._with_varied_crop(label, draw, rng.random((MORE_CROPS, 2)))
    if self.photometric:
      draw = dataclasses.replace(draw, distortion=Distortion.sample(rng))
    return self.apply(example, draw)

  def sample(self, rng: np.random.Generator, height: int, width: int) -> Draw:
    """Draws what to do with an image of this size; always seven numbers, whatever they decide."""
    ratio, rotated, angle, blur, flip, top, left = rng.random(7)
    ratio = self.scale[0] + (self.scale[1] - self.scale[0]) * ratio
    angle = self.rotate[0] + (self.rotate[1] - self.rotate[0]) * angle
    if self.base_size is None:
      # cv2.resize rounds like this, half to even.
      canvas = max(1, round(height * ratio)), max(1, round(width * ratio))
      scale = float(ratio), float(ratio)
    else:
      canvas = fit_size((height, width), [int(side * ratio) for side in self.base_size])
      scale = canvas[0] / height, canvas[1] / width
    top, left = self._crop_offset(canvas, top, left)
    return Draw(
      height=canvas[0],
      width=canvas[1],
      scale=scale,
      angle=float(angle) if rotated < self.rotate_probability else 0.0,
      blur=bool(blur < self.blur_probability),
      flip=bool(flip < self.flip_probability),
      top=top,
      left=left,
    )

  def _crop_offset(self, canvas: tuple[int, int], top: float, left: float) -> tuple[int, int]:
    """Uniform over all places; `top` and `left` are random numbers in [0, 1)."""
    free = [max(size - crop, 0) + 1 for size, crop in zip(canvas, self.crop_size, strict=True)]
    return int(top * free[0]), int(left * free[1])

  def _with_varied_crop(self, label: np.ndarray, draw: Draw, more: np.ndarray) -> Draw:
    """mmseg's RandomCrop: the first of eleven crops that is not mostly one class, or the last."""
    for top, left in more:
      seen = warp_label(label, draw, *self._seen(draw))
      pixels = cv2.calcHist([seen], [0], None, [IGNORE_LABEL], [0, IGNORE_LABEL])
      if np.count_nonzero(pixels) > 1 and pixels.max() / pixels.sum() < self.cat_max_ratio:
        break
      top, left = self._crop_offset((draw.height, draw.width), top, left)
      draw = dataclasses.replace(draw, top=top, left=left)
    return draw

  def _seen(self, draw: Draw) -> tuple[range, range]:
    """The rows and columns of the canvas, not yet flipped, that the crop shows."""
    height, width = min(draw.height, self.crop_size[0]), min(draw.width, self.crop_size[1])
    left = draw.width - draw.left - width if draw.flip else draw.left
    return range(draw.top, draw.top + height), range(left, left + width)

  def apply(self, example: Example, draw: Draw) -> dict[str, np.ndarray]:
    """Does what was drawn.

    Returns:
      image [h, w, 3], of the dtype it came in, and label uint8 [h, w].
    """
    seen = self._seen(draw)
    image = warp_image(example['image'], draw, *seen, colour=self.mean, blur=draw.blur)
    label = warp_label(example['label'], draw, *seen)
    if draw.flip:
      image, label = cv2.flip(image, 1), cv2.flip(label, 1)
    if draw.distortion is not None:
      image = draw.distortion.apply(image)
    missing_rows, missing_columns = np.subtract(self.crop_size, label.shape).tolist()
    if missing_rows or missing_columns:
      top, left = (missing_rows // 2, missing_columns // 2) if self.pad_centred else (0, 0)
      bottom, right = missing_rows - top, missing_columns - left
      border = top, bottom, left, right, cv2.BORDER_CONSTANT
      image = cv2.copyMakeBorder(image, *border, value=self.mean)
      label = cv2.copyMakeBorder(label, *border, value=IGNORE_LABEL)
    return {'image': image, 'label': label}
