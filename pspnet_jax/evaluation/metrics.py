"""The confusion matrix, counted on the device without overflow, and the figures read off it."""

from __future__ import annotations

import dataclasses
from typing import Literal

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from pspnet_jax.data.spec import IGNORE_LABEL

AbsentClasses = Literal['exclude', 'zero']


@flax.struct.dataclass
class Average:
  """The mean of the scalars merged into it.

  clu has one too, but the train step and its benchmarks run where only JAX's own libraries are.
  """

  total: jax.Array  # float32
  count: jax.Array  # int32

  @classmethod
  def of(cls, value: jax.Array) -> Average:
    return cls(total=value, count=jnp.int32(1))

  @classmethod
  def empty(cls) -> Average:
    return cls(total=jnp.float32(0), count=jnp.int32(0))

  def merge(self, other: Average) -> Average:
    return Average(total=self.total + other.total, count=self.count + other.count)

  def compute(self) -> jax.Array:
    return self.total / self.count


@flax.struct.dataclass
class Confusion:
  """Pixel counts by (label, prediction) as 64-bit numbers in two uint32 halves.

  An int32 count is full after 2,000 images of a megapixel and float32 stops counting at 2^24; JAX
  has no 64-bit integers by default, so the carry is taken by hand. One update must stay below 2^32
  pixels.
  """

  low: jax.Array  # uint32 [C, C]
  high: jax.Array  # uint32 [C, C]

  @classmethod
  def zeros(cls, num_classes: int) -> Confusion:
    shape = (num_classes, num_classes)
    return cls(low=jnp.zeros(shape, jnp.uint32), high=jnp.zeros(shape, jnp.uint32))

  @classmethod
  def count(cls, label: jax.Array, prediction: jax.Array, num_classes: int) -> Confusion:
    """Counts pixels of equal-shaped integer arrays whose label is a class."""
    valid = (label != IGNORE_LABEL) & (label >= 0) & (label < num_classes)
    pair = label.astype(jnp.int32) * num_classes + prediction.astype(jnp.int32)
    pair = jnp.where(valid, pair, num_classes**2).reshape(-1)  # ignored pixels fall off the end
    counts = jnp.bincount(pair, length=num_classes**2 + 1)[:-1].reshape(num_classes, num_classes)
    return cls(low=counts.astype(jnp.uint32), high=jnp.zeros_like(counts, jnp.uint32))

  def merge(self, other: Confusion) -> Confusion:
    low = self.low + other.low
    carry = (low < self.low).astype(jnp.uint32)
    return Confusion(low=low, high=self.high + other.high + carry)

  def compute(self) -> np.ndarray:
    """int64 [C, C], rows are labels."""
    return (np.asarray(self.high, np.int64) << 32) + np.asarray(self.low, np.int64)


@dataclasses.dataclass(frozen=True)
class Scores:
  """The figures that a confusion matrix gives.

  IoU of a class is intersection over union; accuracy is recall. The means run over the classes by
  the named convention: 'exclude' leaves out a class that neither label nor prediction shows (its
  IoU is 0/0), as mmsegmentation does; 'zero' counts it as 0, as semseg's epsilon does. For mAcc a
  class is absent when no label shows it.
  """

  confusion: np.ndarray  # int64 [C, C], rows are labels
  absent_classes: AbsentClasses = 'exclude'

  @property
  def intersection(self) -> np.ndarray:
    return np.diag(self.confusion)

  @property
  def label_pixels(self) -> np.ndarray:
    return self.confusion.sum(1)

  @property
  def predicted_pixels(self) -> np.ndarray:
    return self.confusion.sum(0)

  @property
  def iou(self) -> np.ndarray:
    """float64 [C]; NaN for an absent class."""
    return _ratio(self.intersection, self.label_pixels + self.predicted_pixels - self.intersection)

  @property
  def accuracy(self) -> np.ndarray:
    """float64 [C]; NaN for a class no label shows."""
    return _ratio(self.intersection, self.label_pixels)

  @property
  def miou(self) -> float:
    return self._mean(self.iou)

  @property
  def macc(self) -> float:
    return self._mean(self.accuracy)

  @property
  def aacc(self) -> float:
    """Share of the valid pixels that are right."""
    return float(_ratio(self.intersection.sum(), self.confusion.sum()))

  def _mean(self, values: np.ndarray) -> float:
    present = values[~np.isnan(values)]
    if not present.size:
      return float('nan')
    return float(present.sum() / (values.size if self.absent_classes == 'zero' else present.size))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
  with np.errstate(invalid='ignore'):
    return np.divide(part, whole, dtype=np.float64)
