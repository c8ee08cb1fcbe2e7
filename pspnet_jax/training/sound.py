"""Whether what a run has learnt is worth keeping: finite, not diverged, and learnt from labels."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pspnet_jax.errors import UserError
from pspnet_jax.training.saving import Saving, Values, all_finite
from pspnet_jax.training.state import TrainState
from pspnet_jax.training.window import Window

_GROWN = 100  # times a guess's loss, or the run's first: no batch of a sound run is that hard
_ENOUGH_STEPS = 50  # without a labelled pixel; a few crops of sparse labels may well have none


@dataclasses.dataclass
class Sound:
  """The checks of one run.

  Args:
    saving: what it keeps.
    start_step, total_steps: where the run begins, and where it ends.
  """

  saving: Saving
  start_step: int
  total_steps: int
  _first: Any = None
  _labelled: bool = False

  def first(self, measured: Mapping[str, Any]) -> None:
    """Keeps the first step's loss, on the device: it tells the scale of a loss of one's own."""
    if self._first is None:
      self._first = measured.get('loss', math.nan)

  def check_labelled(self, window: Window, now: int) -> None:
    """Raises UserError if no pixel had a class in all steps, where these are enough to tell."""
    self._labelled = self._labelled or window.labelled
    steps = now - self.start_step
    if not self._labelled and steps >= min(_ENOUGH_STEPS, self.total_steps):
      raise UserError(
        f'no pixel of the last {steps} batches has a class, all are 255 or among ignore_ids: look '
        'at the labels with `pspnet doctor`.'
      )

  def check(
    self, state: TrainState, logged: Values, since: int, now: int, *, thorough: bool
  ) -> None:
    """Raises UserError if the run has diverged; `thorough` looks at all that would be saved."""
    loss = logged.get('train/loss', 0.0)
    if not math.isfinite(loss) or (thorough and not all_finite(state)):
      what = 'the loss or a parameter stopped being finite'
    elif thorough and loss > _GROWN * self._usual_loss():
      what = f'the loss has grown to {loss:.3g}'
    else:
      return
    self.saving.wait()
    raise UserError(f'{what} between steps {since + 1} and {now}; {self._way_out()}')

  def _usual_loss(self) -> float:
    first = self._first.compute() if hasattr(self._first, 'compute') else self._first
    card = self.saving.card
    guess = 1.0 if card is None else math.log(max(card.spec.num_classes, 3))
    return max(guess, float(np.asarray(first)))

  def _way_out(self) -> str:
    kept, found = self.saving.kept(), self.saving.checkpoints
    latest = None if found is None else found.latest_step
    if found is None or not latest or latest != self.start_step:
      return f'{kept}: lower config.optimizer.base_lr and run the command again.'
    # The run went on from there, and would for ever.
    best, other = found.best_step, 'in another workdir with a lower config.optimizer.base_lr'
    if best is None:
      return f'that was after going on from step {latest}: begin anew {other}.'
    return (
      f'that was after going on from step {latest}: begin {other}, anew or from the best '
      f'checkpoint, step {best}, with --config.init_from={found.directory.parent}.'
    )
