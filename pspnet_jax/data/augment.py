"""The training augmentation of hszhao/semseg, its six steps as one warp of uint8 pixels.

Scaling, rotating, flipping, padding and cropping one after another interpolates twice and touches
pixels that the crop throws away. Here they are one affine map from the crop back to the image.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from pspnet_jax.data.spec import IGNORE_LABEL, IMAGENET_MEAN, Example
from pspnet_jax.errors import UserError

BLUR_SIZE = 5  # semseg's radius; OpenCV derives sigma 1.1 from it


@dataclasses.dataclass(frozen=True)
class Draw:
  """What happens to one example. The canvas is the scaled image, before padding and cropping."""

  height: int  # of the canvas
  width: int
  scale: float
  angle: float  # degrees, counter-clockwise; 0: not rotated
  blur: bool
  flip: bool
  top: int  # of the crop, on the canvas padded to at least the crop's size
  left: int


@dataclasses.dataclass(frozen=True)
class Augment:
  """Random scale, rotation, blur, horizontal flip and crop (semseg's transforms, in that order).

  Attributes:
    crop_size: height and width of what comes out.
    scale: range of the uniformly drawn scale.
    rotate: range of the uniformly drawn angle in degrees.
    rotate_probability: of rotating at all. The paper rotates and blurs for ADE20K and VOC only.
    blur_probability: of a 5x5 Gaussian blur.
    flip_probability: of mirroring left and right.
    mean: RGB colour around the image; around the label is IGNORE_LABEL.

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

  def __post_init__(self):
    if len(self.crop_size) != 2 or min(self.crop_size) < 1:
      raise UserError(f'crop_size={self.crop_size} must be a height and a width of 1 or more.')
    if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1]:
      raise UserError(f'scale={self.scale} must be a range of positive numbers, lower one first.')
    if len(self.rotate) != 2 or not -180 <= self.rotate[0] <= self.rotate[1] <= 180:
      raise UserError(f'rotate={self.rotate} must be a range of degrees, lower one first.')
    for name in ('rotate_probability', 'blur_probability', 'flip_probability'):
      if not 0 <= getattr(self, name) <= 1:
        raise UserError(f'{name}={getattr(self, name)} must lie between 0 and 1.')
    if len(self.mean) != 3:
      raise UserError(f'mean={self.mean} must be three numbers, RGB in 0-255.')

  def __call__(self, example: Example, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Augments image and label alike; see `apply`."""
    return self.apply(example, self.sample(rng, *example['label'].shape))

  def sample(self, rng: np.random.Generator, height: int, width: int) -> Draw:
    """Draws what to do with an image of this size; always seven numbers, whatever they decide."""
    scale, rotated, angle, blur, flip, top, left = rng.random(7)
    scale = self.scale[0] + (self.scale[1] - self.scale[0]) * scale
    angle = self.rotate[0] + (self.rotate[1] - self.rotate[0]) * angle
    # cv2.resize rounds like this, half to even.
    height, width = max(1, round(height * scale)), max(1, round(width * scale))
    return Draw(
      height=height,
      width=width,
      scale=float(scale),
      angle=float(angle) if rotated < self.rotate_probability else 0.0,
      blur=bool(blur < self.blur_probability),
      flip=bool(flip < self.flip_probability),
      top=int(top * (max(height - self.crop_size[0], 0) + 1)),
      left=int(left * (max(width - self.crop_size[1], 0) + 1)),
    )

  def apply(self, example: Example, draw: Draw) -> dict[str, np.ndarray]:
    """Does what was drawn.

    Returns:
      image [h, w, 3], of the dtype it came in, and label uint8 [h, w].
    """
    rows = _overlap(draw.top, draw.height, self.crop_size[0])
    columns = _overlap(draw.left, draw.width, self.crop_size[1])
    image = _warp_image(example['image'], draw, rows, columns, self.mean)
    label = _warp_label(example['label'], draw, rows, columns)
    missing_rows, missing_columns = np.subtract(self.crop_size, label.shape).tolist()
    if missing_rows or missing_columns:
      top, left = missing_rows // 2, missing_columns // 2
      bottom, right = missing_rows - top, missing_columns - left
      border = top, bottom, left, right, cv2.BORDER_CONSTANT
      image = cv2.copyMakeBorder(image, *border, value=self.mean)
      label = cv2.copyMakeBorder(label, *border, value=IGNORE_LABEL)
    return {'image': image, 'label': label}


def _overlap(offset: int, size: int, crop: int) -> range:
  """The rows (or columns) of the canvas that the crop shows; padding surrounds them."""
  return range(offset, offset + min(size, crop))


def _warp_image(
  image: np.ndarray, draw: Draw, rows: range, columns: range, mean: tuple[float, ...]
) -> np.ndarray:
  """The part of the scaled, rotated, blurred, flipped image that the crop shows."""
  # The blur looks two pixels over the edge of the crop, but not over the edge of the canvas.
  halo = BLUR_SIZE // 2 if draw.blur else 0
  y0, y1 = max(rows.start - halo, 0), min(rows.stop + halo, draw.height)
  x0, x1 = max(columns.start - halo, 0), min(columns.stop + halo, draw.width)
  # Pixel centres as in cv2.resize: x on the canvas is (x + 0.5) / scale - 0.5 in the image.
  matrix = _canvas_to_image(draw, 0.5 / draw.scale - 0.5) @ _shift(x0, y0)
  part = cv2.warpAffine(
    image,
    matrix[:2],
    (x1 - x0, y1 - y0),
    flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    # Scaling repeats the outermost pixels; rotating blends them with the mean.
    borderMode=cv2.BORDER_CONSTANT if draw.angle else cv2.BORDER_REPLICATE,
    borderValue=mean,
  )
  if draw.blur:
    part = cv2.GaussianBlur(part, (BLUR_SIZE, BLUR_SIZE), 0)
  return part[rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0]


def _warp_label(label: np.ndarray, draw: Draw, rows: range, columns: range) -> np.ndarray:
  """The same part of the label: nearest neighbour, in cv2.resize's sense of floor(x / scale)."""
  if draw.angle:
    # Nearest rounds, so half a pixel less is floor; the little more keeps whole numbers whole.
    matrix = _canvas_to_image(draw, -0.5 + 1e-4) @ _shift(columns.start, rows.start)
    return cv2.warpAffine(
      label,
      matrix[:2],
      (len(columns), len(rows)),
      flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
      borderMode=cv2.BORDER_CONSTANT,
      borderValue=IGNORE_LABEL,
    )
  x = np.asarray(columns)
  x = draw.width - 1 - x if draw.flip else x
  inverse = 1 / draw.scale
  y = np.floor(np.asarray(rows) * inverse).astype(np.intp)
  x = np.floor(x * inverse).astype(np.intp)
  height, width = label.shape
  return label[np.minimum(y, height - 1)][:, np.minimum(x, width - 1)]


def _canvas_to_image(draw: Draw, offset: float) -> np.ndarray:
  """float64 [3, 3]: undoes flip, rotation and scale; `offset` is the image's end of the scaling."""
  matrix = np.array([[1 / draw.scale, 0, offset], [0, 1 / draw.scale, offset], [0, 0, 1]])
  if draw.angle:
    # semseg's centre, half a pixel right of and below the middle of the canvas
    rotation = cv2.getRotationMatrix2D((draw.width / 2, draw.height / 2), draw.angle, 1)
    matrix = matrix @ np.linalg.inv(np.vstack([rotation, (0, 0, 1)]))
  if draw.flip:
    matrix = matrix @ np.array([[-1, 0, draw.width - 1], [0, 1, 0], [0, 0, 1]])
  return matrix


def _shift(x: int, y: int) -> np.ndarray:
  return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])
