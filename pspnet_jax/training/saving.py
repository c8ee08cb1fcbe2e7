"""What a training run keeps, and when: checkpoints, where there are any."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from pspnet_jax.errors import Stopped, UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.runtime import parallel
from pspnet_jax.training.callbacks import SCORE
from pspnet_jax.training.state import TrainState
from pspnet_jax.weights.checkpoints import Checkpoints

Values = dict[str, float]


@dataclasses.dataclass
class Saving:
  """Checkpoints, where there are any."""

  checkpoints: Checkpoints | None
  card: Card | None

  def __bool__(self) -> bool:
    return self.checkpoints is not None

  def save(self, step: int, state: TrainState, values: Values | None = None) -> None:
    if self.checkpoints is not None and self.card is not None:
      score = math.nan if values is None else values.get(SCORE, math.nan)
      miou = None if math.isnan(score) else score  # where no pixel was labelled
      self.checkpoints.save(step, state.items(), self.card, miou)

  def wait(self) -> None:
    if self.checkpoints is not None:
      self.checkpoints.wait()

  def preempted(self, step: int) -> bool:
    return self.checkpoints is not None and self.checkpoints.preempted(step)

  def has_score(self, step: int) -> bool:
    return self._score(step) is not None

  def lacks_score(self, step: int) -> bool:
    """Whether there is a checkpoint of this step, the latest, and it was not evaluated."""
    latest = None if self.checkpoints is None else self.checkpoints.latest_step
    return latest == step and not self.has_score(step)

  def add_score(self, step: int, values: Values) -> None:
    """Gives the latest checkpoint the score that it lacks."""
    score = values.get(SCORE, math.nan)
    if self.checkpoints is not None and self.lacks_score(step) and not math.isnan(score):
      self.checkpoints.add_score(step, score)

  def check_folder(self, state: TrainState) -> None:
    """Saves anew, and raises UserError, if the workdir is gone; one process finds it for all."""
    found = self.checkpoints
    if found is None:
      return
    with parallel.together():
      lost = found.lost()
    if not parallel.sum_over_processes(np.array([lost], np.int64))[0]:
      return
    found.reload()
    raise UserError(
      f'{found.directory.parent} was removed or moved while training went on, with what was saved '
      f'there; {self.keep(state)}: run the same command to go on.'
    )

  def scores(self, step: int) -> dict[int, float]:
    """The scores of the best checkpoint and that of `step`, by step, where there are any."""
    if self.checkpoints is None:
      return {}
    best = self.checkpoints.best_step
    found = {s: self._score(s) for s in (best, step) if s is not None}
    return {s: score for s, score in found.items() if score is not None}

  def _score(self, step: int) -> float | None:
    """Gives all processes the score that the first one reads, so that all go the same way.

    Another one may look a moment later, when the first has written the score.
    """
    found = None if self.checkpoints is None else self.checkpoints.score(step)
    bits = np.array([math.nan if found is None else found]).view(np.int64)
    score = float(parallel.of_first(bits).view(np.float64)[0])
    return None if math.isnan(score) else score

  def keep(self, state: TrainState) -> str:
    """Saves what was learnt before something else fails; returns what there is."""
    if int(state.step) and all_finite(state):
      self.save(int(state.step), state)
      self.wait()
    return self.kept()

  def kept(self) -> str:
    return 'no checkpoint was saved' if self.checkpoints is None else self.checkpoints.kept()

  @contextlib.contextmanager
  def on_error(self, state: TrainState) -> Iterator[None]:
    """Keeps what was learnt when something outside of training fails, as an image's decoding.

    Several processes would have to save together, and the others do not know.
    """
    try:
      yield
    except Exception as e:
      if not isinstance(e, Stopped) and jax.process_count() == 1:
        self.keep(state)
      raise


@jax.jit
def all_finite(state: TrainState) -> jax.Array:
  """Whether everything that a checkpoint holds is: statistics and the optimiser's state too."""
  numbers = [x for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.inexact)]
  return jnp.stack([jnp.isfinite(x).all() for x in numbers]).all()
