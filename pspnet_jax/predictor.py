"""A trained network as a function from an image to its label."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pspnet_jax.data.decode import read_image
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.inference.card import Card
from pspnet_jax.inference.engine import Inference
from pspnet_jax.models.network import Arrays
from pspnet_jax.weights import catalogue, importing, published
from pspnet_jax.weights.checkpoints import Checkpoints, Which


class Predictor:
  """Labels images of any size.

      model = pspnet_jax.load('workdir')
      label = model('street.jpg')  # uint8 [H, W]
      names = model.spec.class_names

  Args:
    card: what the weights need to be used.
    params, batch_stats: the weights.
    batch_size: windows run together.
    canvas_mb: megabytes of scores an image may take on the device.
  """

  def __init__(
    self,
    card: Card,
    params: Arrays,
    batch_stats: Arrays,
    *,
    batch_size: int | None = None,
    canvas_mb: int = 1024,
  ):
    self.card = card
    network = card.build_network()
    self._inference = Inference(network, card, batch_size=batch_size, canvas_mb=canvas_mb)
    self._weights = self._inference.prepare(params, batch_stats)

  @property
  def spec(self) -> DatasetSpec:
    """Names and colours of the classes."""
    return self.card.spec

  def __call__(self, image: np.ndarray | str | Path) -> np.ndarray:
    """Class ids uint8 [H, W] of an image uint8 [H, W, 3] (RGB) or of a file, held upright."""
    [(_, label)] = self.stream([(None, _read(image))])
    return label

  def probabilities(self, image: np.ndarray | str | Path) -> np.ndarray:
    """As calling it, with the probability of each class: float32 [H, W, C]."""
    image = _read(image)
    [(_, scores)] = self._inference.probabilities(self._weights, [(None, image)])
    return np.asarray(scores)[: image.shape[0], : image.shape[1]]

  def stream(self, images: Iterable[tuple[Any, np.ndarray]]) -> Iterator[tuple[Any, np.ndarray]]:
    """Labels (tag, image) pairs in order, keeping the accelerator busy across images."""
    pairs = (((tag, image.shape), image) for tag, image in images)
    for (tag, (height, width, _)), label in self._inference.labels(self._weights, pairs):
      yield tag, np.asarray(label)[:height, :width]


def _read(image: np.ndarray | str | Path) -> np.ndarray:
  return image if isinstance(image, np.ndarray) else read_image(Path(image), exif_orientation=True)


def load(
  workdir: str | Path,
  *,
  which: Which = 'best',
  batch_size: int | None = None,
  canvas_mb: int = 1024,
  **changes: Any,
) -> Predictor:
  """The network trained in `workdir`.

  Args:
    workdir: of a training run.
    which: 'best' (by validation mIoU), 'latest', or a step.
    batch_size, canvas_mb: see `Inference`.
    **changes: to the card's protocol, such as `flip=True` or `protocol='semseg'`; see
      `protocol.Protocol.changed`.

  Raises:
    UserError: if there is no such checkpoint.
  """
  checkpoints = Checkpoints(workdir, read_only=True)
  card = checkpoints.card(which)
  card = dataclasses.replace(card, protocol=card.protocol.changed(**changes))
  params, batch_stats = checkpoints.weights(card.build_network(), which)
  checkpoints.close()
  return Predictor(card, params, batch_stats, batch_size=batch_size, canvas_mb=canvas_mb)


def load_pretrained(
  *paths: str | Path,
  source: str | None = None,
  align_corners: bool | None = None,
  batch_size: int | None = None,
) -> Predictor:
  """The network in a checkpoint of another implementation, converted in memory.

  Args:
    paths: one file, or MIT's encoder and decoder; a converted folder or a workdir will do too, and
      so will the name of published weights (`python -m pspnet_jax.zoo list`), which are downloaded
      when they are first used.
    source, align_corners: of files; see `weights.importing.convert`.
    batch_size: windows run together.

  Raises:
    UserError: if it cannot be had or read; it names the file and the key.
  """
  if len(paths) == 1 and Path(paths[0]).is_dir():
    return load(paths[0], batch_size=batch_size)
  if len(paths) == 1 and (entry := catalogue.named(paths[0])) is not None:
    converted = published.load(entry)
  else:
    files = [Path(path) for path in paths]
    converted = importing.convert(files, source=source, align_corners=align_corners)
  return Predictor(converted.card, converted.params, converted.batch_stats, batch_size=batch_size)
