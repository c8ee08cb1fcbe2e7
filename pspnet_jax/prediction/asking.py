"""What is asked of a network for each image, and what its answer becomes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from pspnet_jax.data.spec import IGNORE_LABEL, DatasetSpec
from pspnet_jax.inference.card import Card
from pspnet_jax.inference.ensemble import Prediction


class Model(Protocol):
  """What labels images: a `predictor.Predictor`."""

  origin: str
  notes: tuple[str, ...]

  @property
  def card(self) -> Card: ...

  @property
  def spec(self) -> DatasetSpec: ...

  def identity(self) -> str: ...

  def stream(self, images: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, np.ndarray]]: ...

  def predictions(
    self, images: Iterable[tuple[Any, Any]], *, probabilities: bool, members: bool
  ) -> Iterator[tuple[Any, Prediction]]: ...


class Answer(NamedTuple):
  """What is written of an image."""

  label: np.ndarray  # uint8 [H, W]
  confidence: np.ndarray | None = None  # float32 [H, W]
  probabilities: np.ndarray | None = None  # float32 [H, W, C]
  members: tuple[tuple[str, np.ndarray], ...] = ()  # title and label of each of several networks


class Asked(NamedTuple):
  """What is to be written."""

  kinds: tuple[str, ...]  # folders, of `results.KINDS`
  areas: bool = False
  min_confidence: float = 0  # pixels of lower probability belong to no class
  titles: Sequence[str] = ()  # what the networks are called

  def answers(
    self, model: Model, images: Iterable[tuple[Any, np.ndarray]]
  ) -> Iterator[tuple[Any, Answer]]:
    """Labels (tag, image) pairs, and brings no more from the device than is asked for."""
    several = 'side_by_side' in self.kinds and len(self.titles) > 1
    probabilities = 'probabilities' in self.kinds
    if not (several or probabilities or 'confidence' in self.kinds or self.min_confidence):
      for tag, label in model.stream(images):
        yield tag, Answer(label)
      return
    for tag, found in model.predictions(images, probabilities=probabilities, members=several):
      label = np.where(found.confidence < self.min_confidence, IGNORE_LABEL, found.label)
      members = tuple(zip(self.titles, found.members, strict=True)) if several else ()
      yield tag, Answer(label, found.confidence, found.probabilities, members)
