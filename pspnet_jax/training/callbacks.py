"""What joins a training run from outside: trackers, early stopping, anything of one's own."""

from __future__ import annotations

import math

from pspnet_jax.errors import UserError


class EndTraining(Exception):
  """Raised by a callback to end a run in good order; the message says why."""


class Callback:
  """Called by `loop.fit`, in every process; override what is of interest.

  An exception that a method raises ends the run once the state is saved; `EndTraining` ends it as
  if all steps were done.
  """

  def on_start(self, step: int, best_step: int | None, best_score: float | None) -> None:
    """Called once. The step that the run goes on from, and the best checkpoint there is."""

  def on_log(self, step: int, values: dict[str, float]) -> None:
    """Called with what is logged: losses, learning rate, images per second, by name."""

  def on_evaluate(self, step: int, values: dict[str, float]) -> None:
    """Called with the scores of an evaluation, such as 'val/mIoU'."""

  def on_save(self, step: int) -> None:
    """Called when a checkpoint is on its way to the disk."""


class EarlyStopping(Callback):
  """Ends training when the score has not become better for long.

  It goes by the checkpoints, so that a run that is continued ends where it would have ended.

  Args:
    patience: steps without a better score.
    score: name of the value; the checkpoints go by 'val/mIoU' too.

  Raises:
    UserError: if patience is not positive.
  """

  def __init__(self, patience: int, score: str = 'val/mIoU'):
    if patience < 1:
      raise UserError(f'early stopping after {patience} steps: make it at least 1.')
    self._patience, self._score = patience, score
    self._best_step, self._best = 0, -math.inf

  def on_start(self, step: int, best_step: int | None, best_score: float | None) -> None:
    if best_step is not None and best_score is not None:
      self._best_step, self._best = best_step, best_score
      self._end_if_due(step)

  def on_evaluate(self, step: int, values: dict[str, float]) -> None:
    if self._score not in values:
      known = ', '.join(values)
      raise UserError(f'early stopping goes by {self._score!r}, and an evaluation has {known}.')
    if values[self._score] > self._best:
      self._best_step, self._best = step, values[self._score]
    self._end_if_due(step)

  def _end_if_due(self, step: int) -> None:
    if step - self._best_step >= self._patience:
      raise EndTraining(
        f'No better {self._score} than {self._best:.4f} of step {self._best_step} for '
        f'{step - self._best_step} steps'
      )
