"""A trained network as a function from an image to its label."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from flax import nnx

from pspnet_jax.config import named
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.data.to_rgb import images_of, read_each, to_rgb
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card, described
from pspnet_jax.inference.engine import Inference
from pspnet_jax.inference.ensemble import Ensemble, Prediction, check_together
from pspnet_jax.inference.tiled import cut_out, with_sizes
from pspnet_jax.models.network import Arrays
from pspnet_jax.pictures import labels
from pspnet_jax.runtime import storage
from pspnet_jax.runtime.paths import given
from pspnet_jax.weights import catalogue, importing, members, published
from pspnet_jax.weights.loaded import Which


class Predictor:
  """Labels images of any size.

      model = pspnet_jax.load('workdir')
      label = model('street.jpg')  # uint8 [H, W]
      labels = model(['street.jpg', array, pillow_image])  # a list, whatever their sizes
      shares = model.areas('street.jpg')  # {'sky': 0.31, 'building': 0.2, ...}
      picture = model.overlay('street.jpg')  # uint8 [h, w, 3]

  Every method takes one image or several. An image is a path, the bytes of an image file, an image
  of Pillow's, or a uint8 array: RGB [H, W, 3], grey or RGBA, of NumPy, JAX or torch;
  `data.to_rgb.to_rgb` has the rules. Files and Pillow's images are held as in training: upright as
  their EXIF data say, or as stored. Several images are a list, a tuple or a batch [N, H, W, 3], and
  their answer is a list, also of one; they are read one after another, and the device works while
  the next is read.

  The first image compiles the network, which takes seconds to minutes; so does the first of another
  window shape (of each image size, where the protocol runs whole images).

  Args:
    card: what the weights need to be used.
    params, batch_stats: the weights; they are put on the device here, once.
    model: the network's class where it is no PSPNet.
    batch_size, canvas_mb, split_height: see `Inference`.
    origin: which weights these are, in words, as 'step 6 of runs/a'.

  Attributes:
    notes: where the networks of an ensemble call classes by other words, a sentence each.

  Raises:
    UserError: from every method, for what is no image; it names `images[i]` among several, and what
      to give instead.
  """

  def __init__(
    self,
    card: Card,
    params: Arrays,
    batch_stats: Arrays,
    *,
    model: type[nnx.Module] | None = None,
    batch_size: int | None = None,
    canvas_mb: int = 1024,
    split_height: bool = False,
    origin: str = 'weights',
  ):
    self.card, self.origin = card, origin
    self.notes: tuple[str, ...] = ()
    self._alone: tuple[Predictor, ...] = ()  # the networks of an ensemble
    network = card.build_network(model)
    inference = Inference(
      network, card, batch_size=batch_size, canvas_mb=canvas_mb, split_height=split_height
    )
    self._ensemble = Ensemble([inference])
    self._weights = [inference.prepare(params, batch_stats)]
    self._described = [described(card, network, params)]

  @classmethod
  def ensemble(cls, predictors: Sequence[Predictor]) -> Predictor:
    """Makes one predictor of several, which labels by the mean of their probabilities.

    Each of them keeps its own protocol and pixels; the names and colours of classes are those of
    the first. Nothing is copied to the device again. One that is given twice weighs double.

    Raises:
      UserError: if there is none, or they do not know the same classes.
    """
    if not predictors:
      raise UserError('an ensemble of no networks labels nothing: give at least one.')
    notes = [note for x in predictors for note in x.notes]
    for i, b in enumerate(predictors):
      said = [check_together(a.card, b.card, (a.origin, b.origin)) for a in predictors[:i]]
      notes += [*filter(None, said)][:1]  # one is enough
    whole = copy.copy(predictors[0])
    whole.notes = tuple(notes)
    whole.origin = members.together([x.origin for x in predictors])
    whole._alone = tuple(y for x in predictors for y in x.members)
    whole._ensemble = Ensemble([y for x in predictors for y in x._ensemble.members])
    whole._weights = [y for x in predictors for y in x._weights]
    whole._described = [y for x in predictors for y in x._described]
    return whole

  def __repr__(self) -> str:
    if len(self._described) == 1:
      return f'Predictor({self._described[0]})'
    return f'Predictor(the mean of {" and ".join(f"({x})" for x in self._described)})'

  @property
  def members(self) -> tuple[Predictor, ...]:
    """Each network of an ensemble alone; of one network, itself."""
    return self._alone or (self,)

  @property
  def spec(self) -> DatasetSpec:
    """Names and colours of the classes."""
    return self.card.spec

  @property
  def class_names(self) -> tuple[str, ...]:
    """The name of each class id."""
    return self.spec.class_names

  @property
  def palette(self) -> tuple[tuple[int, int, int], ...]:
    """The colour of each class id, RGB of 0-255."""
    return self.spec.palette

  def __call__(self, images: Any) -> Any:
    """Returns the class ids, uint8 [H, W], of one image, or a list of them of several."""
    return self._answer(images, self._labels, lambda image, label: label)

  def probabilities(self, images: Any) -> Any:
    """Returns the probability of each class, float32 [H, W, C]; of several images a list."""

    def run(images: Iterable[tuple[Any, np.ndarray]]) -> Iterator[tuple[Any, np.ndarray]]:
      return cut_out(self._ensemble.probabilities(self._weights, with_sizes(images)))

    return self._answer(images, run, lambda image, scores: scores)

  def label_and_confidence(self, images: Any) -> Any:
    """Returns the class ids and how sure they are; of several images a list of such pairs.

    They are uint8 [H, W], and float32 [H, W]: the probability of the class at each pixel. Those of
    the other classes stay on the device.
    """
    run = functools.partial(self._ensemble.predictions, self._weights)
    return self._answer(images, run, lambda image, found: (found.label, found.confidence))

  def overlay(
    self,
    images: Any,
    *,
    alpha: float = 0.5,
    legend: bool = True,
    outlines: bool = True,
    highlight: Sequence[int] | None = None,
  ) -> Any:
    """Lays the classes' colours over the image: the picture that `pspnet_jax.predict` writes.

    Args:
      images: one or several.
      alpha: weight of the colours, 0 to 1.
      legend: whether classes and their shares stand below, for which small images are enlarged.
      outlines: whether lines part the classes.
      highlight: ids of classes to show alone, the others in grey; None: all.

    Returns:
      uint8 [H, W, 3] without a legend, larger with one; of several images a list.
    """

    def draw(image: np.ndarray, label: np.ndarray) -> np.ndarray:
      return labels.overlay(
        image, label, self.spec, alpha, legend, outlines=outlines, highlight=highlight
      )

    return self._answer(images, self._labels, draw)

  def areas(self, images: Any) -> Any:
    """Returns the share of the pixels of each class: a dict by name, in the order of the classes.

    Classes that do not occur have 0, and all add up to 1. Of several images it is a list.
    """

    def measure(image: np.ndarray, label: np.ndarray) -> dict[str, float]:
      counts = np.bincount(label.ravel(), minlength=self.spec.num_classes)
      return dict(zip(self.class_names, (counts / label.size).tolist(), strict=True))

    return self._answer(images, self._labels, measure)

  def stream(self, images: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, np.ndarray]]:
    """Labels (tag, image) pairs in order, keeping the accelerator busy across images.

    Yields (tag, label), where `tag` is whatever came with the image. Nothing is kept, so that there
    may be more images than fit in memory.
    """
    return self._labels((tag, to_rgb(image, self.card.exif)) for tag, image in images)

  def predictions(
    self, images: Iterable[tuple[Any, Any]], *, probabilities: bool = False, members: bool = False
  ) -> Iterator[tuple[Any, Prediction]]:
    """Like `stream`, but yields labels with their confidence, and more if it is asked for.

    That is the probabilities of all classes, and what each of several networks says by itself.
    """
    pairs = ((tag, to_rgb(image, self.card.exif)) for tag, image in images)
    return self._ensemble.predictions(
      self._weights, pairs, probabilities=probabilities, members=members
    )

  def identity(self) -> str:
    """Returns a digest that differs wherever the weights or the protocol do."""
    return members.identity([x.card for x in self._ensemble.members], self._weights)

  def _answer(self, given: Any, run: _Run, finish: Callable[[np.ndarray, Any], Any]) -> Any:
    """What `finish` makes of each image and its result; a list of that if several are given."""
    images, several = images_of(given)
    pairs = ((image, image) for image in read_each(images, several, self.card.exif))
    answers = [finish(image, result) for image, result in run(pairs)]
    return answers if several else answers[0]

  def _labels(self, images: Iterable[tuple[Any, np.ndarray]]) -> Iterator[tuple[Any, np.ndarray]]:
    return cut_out(self._ensemble.labels(self._weights, with_sizes(images)))


_Run = Callable[[Iterable[tuple[Any, np.ndarray]]], Iterator[tuple[Any, Any]]]


def load(
  workdir: str | Path | Sequence[str | Path],
  *,
  which: Which = 'best',
  ema: bool = True,
  model: type[nnx.Module] | str | None = None,
  batch_size: int | None = None,
  canvas_mb: int = 1024,
  split_height: bool = False,
  **changes: Any,
) -> Predictor:
  """The network trained in `workdir`; of several workdirs, an ensemble of all.

  Args:
    workdir: of a training run, a packed folder or hf://OWNER/NAME, which is downloaded when it is
      first used; or several, see `Predictor.ensemble`.
    which: 'best' (by validation mIoU), 'latest', or a step, of each.
    ema: whether to take the moving average of the parameters, where the run kept one.
    model: the network's class, or its name as package.module:Class, where it is no PSPNet: code is
      never imported because a workdir names it. Among several, PSPNets do without.
    batch_size, canvas_mb, split_height: see `Inference`.
    **changes: to each card's protocol, such as `flip=True` or `protocol='semseg'`; see
      `protocol.Protocol.changed`.

  Raises:
    UserError: if there is no such checkpoint, or it is of another network than `model`; for several
      that do not belong together, or a network that is given twice.
  """
  network = named.find_network(model, 'model') if isinstance(model, str) else model
  workdirs = [workdir] if isinstance(workdir, str | PurePath) else workdir
  make = functools.partial(
    Predictor, batch_size=batch_size, canvas_mb=canvas_mb, split_height=split_height
  )
  found = members.load(workdirs, which, changes=changes, model=network, ema=ema)
  return Predictor.ensemble(
    [make(x.card, x.params, x.batch_stats, model=x.network.model, origin=x.origin) for x in found]
  )


def load_pretrained(
  *paths: str | Path,
  source: str | None = None,
  align_corners: bool | None = None,
  batch_size: int | None = None,
) -> Predictor:
  """The network in a checkpoint of another implementation, converted in memory.

  Args:
    paths: one file, or MIT's encoder and decoder; what `load` takes will do too, and so will the
      name of published weights (`pspnet zoo list`), which are downloaded when they are first used.
    source, align_corners: of files; see `weights.importing.convert`.
    batch_size: windows run together.

  Raises:
    UserError: if it cannot be had or read; it names the file and the key.
  """
  if len(paths) == 1 and (storage.is_address(paths[0]) or given(paths[0]).is_dir()):
    return load(paths[0], batch_size=batch_size)
  if len(paths) == 1 and (entry := catalogue.named(paths[0])) is not None:
    converted = published.load(entry)
  else:
    files = [given(path) for path in paths]
    converted = importing.convert(files, source=source, align_corners=align_corners)
  return Predictor(converted.card, converted.params, converted.batch_stats, batch_size=batch_size)
