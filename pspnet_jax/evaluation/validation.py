"""Validation while training goes on: scores of a state, and pictures of what it predicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pspnet_jax.data.rare_classes import count_class_pixels
from pspnet_jax.data.spec import Example, Source
from pspnet_jax.evaluation import scoring
from pspnet_jax.evaluation.metrics import Scores
from pspnet_jax.inference.engine import Inference
from pspnet_jax.pictures.labels import panel
from pspnet_jax.runtime import parallel


class Validation:
  """Scores a state on a labelled source; what `training.loop.fit` calls to evaluate.

  Args:
    inference: how images become labels.
    source: what is evaluated.
    threads: that read; see `in_order`.
    pictures: how many examples are shown, evenly spread over the source.
    skip_bad: leave out examples that cannot be used; see `scoring.confusion_matrix`.

  Attributes:
    scores: of the last call; None before.
  """

  def __init__(
    self,
    inference: Inference,
    source: Source,
    *,
    threads: int | None = None,
    pictures: int = 4,
    skip_bad: bool = False,
  ):
    self._inference, self._source = inference, source
    self._threads, self._pictures, self._skip_bad = threads, pictures, skip_bad
    self.scores: Scores | None = None

  def check_labels(self) -> None:
    """Reads labels until a pixel has a class: the first, as a rule.

    Raises:
      UserError: if there is none in the whole source, or what the source raises.
    """
    indices = range(len(self._source))
    counts = count_class_pixels(self._source, indices, threads=0, skip_bad=self._skip_bad)
    nothing = np.zeros(self._source.spec.num_classes, np.int64)
    scoring.check_labelled(next((row for row in counts if row.any()), nothing), len(indices))

  def __call__(self, state: Any, check: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Scores the parameters that would be used: the moving average, where one is kept.

    Args:
      state: a `TrainState`.
      check: called after each image; what it raises ends the evaluation.

    Returns:
      'val/mIoU', 'val/mAcc' and 'val/aAcc', and 'val/INDEX', pictures uint8 [H, W, 3].
    """
    pictures = {}

    def keep_picture(index: int, example: Example, prediction: np.ndarray) -> None:
      picture = panel(example['image'], example['label'], prediction, self._source.spec)
      pictures[f'val/{index}'] = picture

    weights = (state.params_to_use, state.batch_stats)
    confusion = scoring.confusion_matrix(
      self._inference,
      self._inference.prepare(*parallel.local_view(weights)),
      self._source,
      threads=self._threads,
      on_label=keep_picture,
      pictures=self._pictures,
      on_progress=lambda _: check(),
      skip_bad=self._skip_bad,
    )
    scoring.check_labelled(confusion, len(self._source))
    scores = Scores(confusion, self._inference.card.protocol.absent_classes)
    self.scores = scores
    values = {'val/mIoU': scores.miou, 'val/mAcc': scores.macc, 'val/aAcc': scores.aacc}
    return {**values, **pictures}
