"""A trained network as a function from an image to its label."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pspnet_jax.card import Card
from pspnet_jax.checkpoints import Checkpoints, Which
from pspnet_jax.data.decode import read_image
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.inference import Inference
from pspnet_jax.models.network import Arrays
from pspnet_jax.weights import importing, published, zoo


class Predictor:
  """Labels images of any size.

      model = pspnet_jax.load('workdir')
      label = model('street.jpg')  # uint8 [H, W]
      names = model.spec.class_names

  Args:
    card: what the weights need to be used.
    params, batch_stats: the weights.
    batch_size: windows run together.
  """

  def __init__(self, card: Card, params: Arrays, batch_stats: Arrays, *, batch_size: int = 4):
    # One window shape for all images: a network that was evaluated on whole images slides windows
    # of its training crop, so that new image sizes compile nothing.
    protocol = card.protocol
    if protocol.window is None:
      protocol = dataclasses.replace(protocol, window=card.crop_size)
    self.card = dataclasses.replace(card, protocol=protocol)
    self._weights = (params, batch_stats)
    self._inference = Inference(card.build_network(), self.card, batch_size=batch_size)

  @property
  def spec(self) -> DatasetSpec:
    """Names and colours of the classes."""
    return self.card.spec

  def __call__(self, image: np.ndarray | str | Path) -> np.ndarray:
    """Class ids uint8 [H, W] of an image uint8 [H, W, 3] (RGB) or of a file, held upright."""
    if isinstance(image, str | Path):
      image = read_image(image, exif_orientation=True)
    [(_, label)] = self.stream([(None, image)])
    return label

  def stream(self, images: Iterable[tuple[Any, np.ndarray]]) -> Iterator[tuple[Any, np.ndarray]]:
    """Labels (tag, image) pairs in order, keeping the accelerator busy across images."""
    for tag, label, where in self._inference.labels(*self._weights, images):
      yield tag, np.asarray(label, np.uint8)[where]


def load(
  workdir: str | Path,
  *,
  which: Which = 'best',
  batch_size: int = 4,
  window: tuple[int, int] | None = None,
  stride: float | None = None,
  flip: bool | None = None,
) -> Predictor:
  """The network trained in `workdir`.

  Args:
    workdir: of a training run.
    which: 'best' (by validation mIoU), 'latest', or a step.
    batch_size: windows run together.
    window, stride, flip: changes to the card's protocol; see `card.Protocol`.

  Raises:
    UserError: if there is no such checkpoint.
  """
  checkpoints = Checkpoints(workdir, read_only=True)
  card = checkpoints.card(which)
  protocol = dataclasses.replace(
    card.protocol,
    window=window or card.protocol.window,
    stride=stride or card.protocol.stride,
    flip=card.protocol.flip if flip is None else flip,
  )
  card = dataclasses.replace(card, protocol=protocol)
  params, batch_stats = checkpoints.weights(card.build_network(), which)
  checkpoints.close()
  return Predictor(card, params, batch_stats, batch_size=batch_size)


def load_pretrained(
  *paths: str | Path,
  source: str | None = None,
  align_corners: bool | None = None,
  batch_size: int = 4,
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
  if len(paths) == 1 and (entry := zoo.named(paths[0])) is not None:
    converted = published.load(entry)
  else:
    files = [Path(path) for path in paths]
    converted = importing.convert(files, source=source, align_corners=align_corners)
  return Predictor(converted.card, converted.params, converted.batch_stats, batch_size=batch_size)
