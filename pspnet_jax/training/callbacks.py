"""What joins a training run from outside: trackers, early stopping, anything of one's own."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pspnet_jax.errors import UserError

SCORE = 'val/mIoU'  # what the best checkpoint is chosen by
_NAMED = 8  # values in a message: every class has one


class EndTraining(Exception):
  """Raised by a callback to end a run in good order; the message says why."""


class Callback:
  """Called by `loop.fit`, in every process; override what is of interest.

  An exception that a method raises ends the run once the state is saved; `EndTraining` ends it as
  if all steps were done. Raised in one process, either ends all.
  """

  def on_start(self, step: int, scores: Mapping[int, float]) -> None:
    """Called once.

    Args:
      step: that the run goes on from.
      scores: 'val/mIoU' of the best checkpoint and of the latest, by step, where they have one.
    """

  def on_log(self, step: int, values: Mapping[str, float]) -> None:
    """Called with what is logged: losses, learning rate, images per second, by name."""

  def on_evaluate(self, step: int, values: Mapping[str, float]) -> None:
    """Called with the scores of an evaluation, such as 'val/mIoU' and 'val_IoU/road'."""

  def on_save(self, step: int) -> None:
    """Called when a checkpoint is on its way to the disk.

    Where it has no score, `EndTraining` ends the run a step later, so that the last one has.
    """


class EarlyStopping(Callback):
  """Ends training when the score has not become better for long.

  It goes by the checkpoints, so that a run that is continued ends where it would have ended. They
  remember 'val/mIoU' only: by any other score, patience begins anew where a run is continued.

  Args:
    patience: steps without a better score.
    score: name of the value; higher is better, so it is no loss.

  Raises:
    UserError: if patience is not positive, or for a loss.
  """

  def __init__(self, patience: int, score: str = SCORE):
    if patience < 1:
      raise UserError(f'early stopping after {patience} steps: make it at least 1.')
    if score.endswith('loss'):
      raise UserError(
        f'early stopping goes by what should rise, and {score} should fall: name a score such as '
        f'{SCORE}.'
      )
    self._patience, self._score = patience, score
    self._best_step, self._best = 0, -math.inf

  def on_start(self, step: int, scores: Mapping[int, float]) -> None:
    if self._score != SCORE:
      self._best_step = step
    elif scores:
      self._best_step = min(scores, key=lambda s: (-scores[s], s))
      self._best = scores[self._best_step]
      if step in scores:  # evaluated: there the run may have ended before
        self._end_if_due(step)

  def on_evaluate(self, step: int, values: Mapping[str, float]) -> None:
    if self._score not in values:
      known = ', '.join(list(values)[:_NAMED]) + (' ...' if len(values) > _NAMED else '')
      raise UserError(
        f'early stopping goes by {self._score!r}, which no evaluation has: name one of {known}.'
      )
    if values[self._score] > self._best:
      self._best_step, self._best = step, values[self._score]
    self._end_if_due(step)

  def _end_if_due(self, step: int) -> None:
    since = step - self._best_step
    if since < self._patience:
      return
    if math.isinf(self._best):
      raise EndTraining(f'No {self._score} for {since} steps')
    raise EndTraining(
      f'No better {self._score} than {self._best:.4f} of step {self._best_step} for {since} steps'
    )
