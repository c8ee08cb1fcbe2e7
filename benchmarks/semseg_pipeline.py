"""The training input of hszhao/semseg, rebuilt step by step from its description, as a yardstick.

Float32 images, one OpenCV call a transform, a torch DataLoader with worker processes. OpenCV's own
threads are off, as in semseg's training script.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from pspnet_jax.data.spec import IGNORE_LABEL, IMAGENET_MEAN, IMAGENET_STD


def scale(image, label):
  """RandScale 0.5-2."""
  factor = random.uniform(0.5, 2)
  image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
  label = cv2.resize(label, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
  return image, label


def rotate(image, label):
  """RandRotate: +-10 degrees, half of the time."""
  if random.random() < 0.5:
    height, width = label.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), random.uniform(-10, 10), 1)
    size, border = (width, height), cv2.BORDER_CONSTANT
    image = cv2.warpAffine(
      image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=border, borderValue=IMAGENET_MEAN
    )
    label = cv2.warpAffine(
      label, matrix, size, flags=cv2.INTER_NEAREST, borderMode=border, borderValue=IGNORE_LABEL
    )
  return image, label


def blur(image, label):
  """RandomGaussianBlur 5x5, half of the time."""
  if random.random() < 0.5:
    image = cv2.GaussianBlur(image, (5, 5), 0)
  return image, label


def flip(image, label):
  """RandomHorizontalFlip, half of the time."""
  if random.random() < 0.5:
    image, label = cv2.flip(image, 1), cv2.flip(label, 1)
  return image, label


def crop(image, label, size):
  """Crop: centred padding, then a random place."""
  down, right = (max(size[i] - label.shape[i], 0) for i in (0, 1))
  if down or right:
    border = down // 2, down - down // 2, right // 2, right - right // 2, cv2.BORDER_CONSTANT
    image = cv2.copyMakeBorder(image, *border, value=IMAGENET_MEAN)
    label = cv2.copyMakeBorder(label, *border, value=IGNORE_LABEL)
  top, left = (random.randint(0, label.shape[i] - size[i]) for i in (0, 1))
  rows, columns = slice(top, top + size[0]), slice(left, left + size[1])
  return image[rows, columns], label[rows, columns]


class SemsegDataset:
  """Paths in, normalised torch tensors out: image float32 [3, h, w], label int64 [h, w]."""

  def __init__(self, pairs: list[tuple[str, str]], size: tuple[int, int]):
    self.pairs, self.size = pairs, size

  def __len__(self):
    return len(self.pairs)

  def __getitem__(self, index):
    import torch

    image = cv2.imread(self.pairs[index][0], cv2.IMREAD_COLOR)
    image = np.float32(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    label = cv2.imread(self.pairs[index][1], cv2.IMREAD_GRAYSCALE)
    for transform in (scale, rotate, blur, flip):
      image, label = transform(image, label)
    image, label = crop(image, label, self.size)
    image = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    for channel, mean, deviation in zip(image, IMAGENET_MEAN, IMAGENET_STD, strict=True):
      channel.sub_(mean).div_(deviation)
    return image, torch.from_numpy(np.ascontiguousarray(label)).long()


def semseg_batches(root: Path, size: tuple[int, int], batch_size: int, workers: int) -> Iterator:
  """Endless batches of two torch tensors."""
  import torch.utils.data

  cv2.setNumThreads(0)
  images, labels = (sorted((root / kind / 'train').iterdir()) for kind in ('images', 'labels'))
  pairs = [(str(image), str(label)) for image, label in zip(images, labels, strict=True)]
  # Longer than any measurement: workers that start anew each epoch are not held against it.
  dataset = SemsegDataset(pairs * 1000, size)
  options = {'batch_size': batch_size, 'num_workers': workers, 'shuffle': True, 'drop_last': True}
  yield from torch.utils.data.DataLoader(dataset, **options)
