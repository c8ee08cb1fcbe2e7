"""The training loop: takes steps, and logs, evaluates and saves every so often."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from pspnet_jax.errors import Stopped, UserError
from pspnet_jax.evaluation.metrics import Average, Scores
from pspnet_jax.inference.card import Card
from pspnet_jax.reporting.reporter import Reporter
from pspnet_jax.training.callbacks import Callback, EndTraining
from pspnet_jax.training.saving import Saving, Values, all_finite
from pspnet_jax.training.state import TrainState
from pspnet_jax.training.stop_signals import StopSignals
from pspnet_jax.weights.checkpoints import Checkpoints

Evaluate = Callable[[TrainState, Callable[[], None]], Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Every:
  """How often things are done, in steps; 0 is never, but for the end."""

  log: int = 50
  evaluate: int = 0
  save: int = 1_000


def fit(
  step: Callable[[TrainState, Any], tuple[TrainState, Mapping[str, Any]]],
  state: TrainState,
  batches: Iterator[Any],
  *,
  total_steps: int,
  every: Every = Every(),
  evaluate: Evaluate | None = None,
  checkpoints: Checkpoints | None = None,
  card: Card | None = None,
  report: Reporter | None = None,
  stop: StopSignals | None = None,
  callbacks: Sequence[Callback] = (),
  log_also: Mapping[str, Callable[[int], float]] | None = None,
) -> tuple[TrainState, Values | None]:
  """Trains from `state` to `total_steps`.

  Args:
    step: takes a state and a batch, gives the next state and what it measured: scalars, or what can
      be merged over steps, such as `Average` and `Confusion`. Jitted, as a rule.
    state: where to begin; its `step` says where that is.
    batches: one for each step that is left.
    total_steps: where to end.
    every: how often to log, evaluate and save. The end is evaluated and saved in any case.
    evaluate: scores a state; called with it and with a function to call now and then, which raises
      `Stopped` when a signal came. Gives numbers by name ('val/mIoU' is what the best checkpoint is
      chosen by) and pictures, uint8 [H, W, 3], for TensorBoard.
    checkpoints: where states are saved; None saves nothing.
    card: what goes into a checkpoint beside the state; needed for `checkpoints`.
    report: where logs go; None prints to the console.
    stop: signals that were asked to stop; None listens while this function runs.
    callbacks: see `callbacks.Callback`.
    log_also: values to log beside what was measured, such as the learning rate; functions of the
      number of steps taken.

  Returns:
    The last state, and the values of its evaluation: None if there was none.

  Raises:
    Stopped: after a signal; the state is saved.
    UserError: if the loss or a parameter stops being finite, or a callback raises; what was saved
      until then stays.
  """
  if checkpoints is not None and card is None:
    raise ValueError('checkpoints need a card beside the state: pass card=.')
  start_step = int(state.step)
  with contextlib.ExitStack() as stack:
    if report is None:
      report = stack.enter_context(Reporter(None, total_steps=total_steps, start_step=start_step))
    if stop is None:
      stop = stack.enter_context(StopSignals(listen=jax.process_count() == 1))
    loop = _Loop(total_steps, every, evaluate, Saving(checkpoints, card), report, stop, callbacks)
    return loop.run(step, state, batches, log_also or {})


@dataclasses.dataclass
class _Loop:
  """One call of `fit`."""

  total_steps: int
  every: Every
  evaluate: Evaluate | None
  saving: Saving
  report: Reporter
  stop: StopSignals
  callbacks: Sequence[Callback]

  def run(
    self,
    step: Callable[..., Any],
    state: TrainState,
    batches: Iterator[Any],
    log_also: Mapping[str, Callable[[int], float]],
  ) -> tuple[TrainState, Values | None]:
    start = int(state.step)
    values, window = None, _Window(start)
    ended = self._call(state, 'on_start', start, *self.saving.best())
    for now in range(start + 1, self.total_steps + 1):
      if ended:
        break
      with self.saving.on_error(state):
        batch = _next(batches, now)
      state, measured = step(state, batch)
      window.add(measured, batch)
      self.report.advance(now)
      stopping = self.stop.requested or self.saving.preempted(now)
      evaluating = now == self.total_steps or _due(now, self.every.evaluate)
      saving = evaluating or stopping or _due(now, self.every.save)
      if not saving and not _due(now, self.every.log):
        continue

      # Here alone the host waits for the device.
      logged = window.close(now) | {name: value(now) for name, value in log_also.items()}
      self.report.scalars(now, logged)
      self.report.line(now, {name: x for name, x in logged.items() if name not in window.parts})
      self._check_finite(state, logged, window.since, now, thorough=saving)
      ended = self._call(state, 'on_log', now, logged)
      if saving or ended:
        values = None
        if (evaluating or ended) and not stopping:
          values = self._scores(state, now)
          ended = self._evaluated(state, now, values) or ended
        self.saving.save(now, state, values)
        ended = self._call(state, 'on_save', now) or ended
        if stopping or self.stop.requested:
          self._stop(now)
      window = _Window(now)
    self.saving.wait()
    if start == self.total_steps and not self.saving.has_score(start):
      values = self._scores(state, start)
    return state, values

  def _scores(self, state: TrainState, now: int) -> Values | None:
    """Evaluates. Cut short by a signal, it leaves the checkpoint to be saved without a score."""
    if self.evaluate is None:
      return None
    with self.saving.on_error(state), contextlib.suppress(Stopped):
      found = self.evaluate(state, self.stop.check)
      pictures = {name: x for name, x in found.items() if getattr(x, 'ndim', 0) == 3}
      values = {name: float(x) for name, x in found.items() if name not in pictures}
      self.report.scalars(now, values)
      self.report.images(now, pictures)
      self.report.line(now, values)
      return values
    return None

  def _evaluated(self, state: TrainState, now: int, values: Values | None) -> bool:
    return values is not None and self._call(state, 'on_evaluate', now, values)

  def _call(self, state: TrainState, method: str, *arguments: Any) -> bool:
    """Calls all callbacks. Returns whether one wants the run to end."""
    ended = False
    for callback in self.callbacks:
      try:
        getattr(callback, method)(*arguments)
      except EndTraining as e:
        self.report.say(f'{e}: training ends here.')
        ended = True
      except Exception as e:
        kept = self.saving.keep(state)
        if isinstance(e, UserError):
          raise
        raise UserError(
          f'the callback {type(callback).__name__} raised {type(e).__name__} in {method} at step '
          f'{int(state.step)} ({e}); {kept}: mend it, or leave it out.'
        ) from e
    return ended

  def _check_finite(
    self, state: TrainState, logged: Values, since: int, now: int, *, thorough: bool
  ) -> None:
    if math.isfinite(logged.get('train/loss', 0)) and (not thorough or all_finite(state.params)):
      return
    self.saving.wait()
    raise UserError(
      f'the loss or a parameter stopped being finite between steps {since + 1} and {now}; '
      f'{self.saving.kept()}: lower config.optimizer.base_lr and run the command again.'
    )

  def _stop(self, now: int) -> None:
    self.saving.wait()
    reason = self.stop.received or signal.SIGTERM
    kept = 'is saved' if self.saving else 'was reached, and nothing is saved'
    raise Stopped(
      f'{reason.name}: step {now} of {self.total_steps} {kept}; run the same command to go on '
      'from there.',
      reason,
    )


class _Window:
  """What was measured since the last report."""

  def __init__(self, since: int):
    self.since, self._began = since, time.monotonic()
    self._total: Any = None
    self._images = 0
    self.parts: set[str] = set()  # of the loss: for the files, not for the console

  def add(self, measured: Mapping[str, Any], batch: Any) -> None:
    self._total = _start(measured) if self._total is None else _merge(self._total, measured)
    self._images += len(batch['image']) if 'image' in batch else 0

  def close(self, now: int) -> Values:
    """The values by name; waits for the device."""
    values: Values = {}
    for name, total in self._total.items():
      value = np.asarray(total.compute())
      values |= {f'train/{name}': float(value)} if not value.ndim else {'train/mIoU': _miou(value)}
    self.parts = {name for name in values if name not in ('train/loss', 'train/mIoU')}
    if self._images:
      values['images_per_second'] = self._images / (time.monotonic() - self._began)
    return values


def _mergeable(measured: Mapping[str, Any]) -> dict[str, Any]:
  return {n: x if hasattr(x, 'merge') else Average.of(x) for n, x in measured.items()}


@jax.jit
def _start(measured: Mapping[str, Any]) -> dict[str, Any]:
  return _mergeable(measured)


@jax.jit
def _merge(total: dict[str, Any], measured: Mapping[str, Any]) -> dict[str, Any]:
  return {name: total[name].merge(value) for name, value in _mergeable(measured).items()}


def _miou(confusion: np.ndarray) -> float:
  return Scores(confusion).miou


def _next(batches: Iterator[Any], step: int) -> Any:
  for batch in batches:
    return batch
  raise UserError(f'there is no batch for step {step}: give one for each step that is left.')


def _due(step: int, every: int) -> bool:
  return every > 0 and step % every == 0
