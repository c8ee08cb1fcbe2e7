"""Validation while training goes on: scores of a state, and pictures of what it predicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pspnet_jax.data.rare_classes import count_class_pixels
from pspnet_jax.data.spec import Example, Source
from pspnet_jax.evaluation import scoring
from pspnet_jax.evaluation.figures import as_markdown
from pspnet_jax.evaluation.metrics import Scores
from pspnet_jax.inference.engine import Inference
from pspnet_jax.pictures import confusion
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
      'val/mIoU', 'val/mAcc', 'val/aAcc', and 'val/loss', the mean cross-entropy of what is
      predicted (`scoring.PixelLoss`); 'val_IoU', the IoU of each class by its name; 'val/classes',
      the figures of all classes in Markdown; 'val/INDEX' and 'val/confusion', pictures uint8
      [H, W, 3].
    """
    pictures = {}

    def keep_picture(index: int, example: Example, prediction: np.ndarray) -> None:
      picture = panel(example['image'], example['label'], prediction, self._source.spec)
      pictures[f'val/{index}'] = picture

    loss = scoring.PixelLoss()
    weights = (state.params_to_use, state.batch_stats)
    counts = scoring.confusion_matrix(
      self._inference,
      self._inference.prepare(*parallel.local_view(weights)),
      self._source,
      threads=self._threads,
      on_label=keep_picture,
      pictures=self._pictures,
      on_progress=lambda _: check(),
      skip_bad=self._skip_bad,
      loss=loss,
    )
    scoring.check_labelled(counts, len(self._source))
    scores = Scores(counts, self._inference.card.protocol.absent_classes)
    self.scores = scores
    spec = self._source.spec
    figures = scoring.figures_of(scores, spec)
    return {
      'val/mIoU': scores.miou,
      'val/mAcc': scores.macc,
      'val/aAcc': scores.aacc,
      'val/loss': loss.total() / int(counts.sum()),
      # A group of its own: TensorBoard shows a dozen charts of a group at a time.
      'val_IoU': dict(zip(spec.class_names, map(float, scores.iou), strict=True)),
      'val/classes': as_markdown(figures, f'Validation after step {int(state.step)}'),
      'val/confusion': confusion.draw(counts, spec),
      **pictures,
    }
