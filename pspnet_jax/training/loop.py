"""The training loop: takes steps, and logs, evaluates and saves every so often."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from pspnet_jax.errors import PeerFailed, Stopped, UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.reporting.reporter import Reporter
from pspnet_jax.runtime import parallel
from pspnet_jax.training.callbacks import Callback, EndTraining
from pspnet_jax.training.saving import Saving, Values
from pspnet_jax.training.sound import Sound
from pspnet_jax.training.state import TrainState
from pspnet_jax.training.stop_signals import StopSignals
from pspnet_jax.training.window import Window
from pspnet_jax.weights.checkpoints import Checkpoints

_FIRST = 'this step, which is compiled first'  # may take minutes
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
  batches: Iterable[Any],
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
    step: takes a state and a batch, gives the next state and what it measured: scalars, whose means
      are logged, or what can be merged over steps, such as `Average` and `Confusion`. Jitted, as a
      rule.
    state: where to begin; its `step` says where that is.
    batches: one for each step that is left; those of `image`s are counted for the speed.
    total_steps: where to end.
    every: how often to log, evaluate and save. The end is evaluated and saved in any case.
    evaluate: scores a state; called with it and with a function to call now and then, which raises
      `Stopped` when a signal came. Gives by name numbers ('val/mIoU' is what the best checkpoint is
      chosen by), groups of further numbers by name, which are logged as GROUP/NAME and not printed,
      and for TensorBoard pictures, uint8 [H, W, 3], and texts in Markdown.
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
    UserError: if the loss or the state stops being finite, the loss has grown a hundredfold where
      it would be saved, no pixel has a class, a callback raises, or the checkpoints are ahead of
      `state`; what was saved until then stays.
  """
  if checkpoints is not None and card is None:
    raise ValueError('checkpoints need a card beside the state: pass card=.')
  start_step = int(state.step)
  if checkpoints is not None and (checkpoints.latest_step or 0) > start_step:
    raise UserError(
      f'{checkpoints.directory} holds step {checkpoints.latest_step}, and the state given is of '
      f'step {start_step}: go on from checkpoints.restore, or give another folder.'
    )
  with contextlib.ExitStack() as stack:
    if report is None:
      primary = jax.process_index() == 0
      report = stack.enter_context(
        Reporter(None, total_steps=total_steps, start_step=start_step, primary=primary)
      )
    if stop is None:
      stop = stack.enter_context(StopSignals(processes=jax.process_count()))
    loop = _Loop(total_steps, every, evaluate, Saving(checkpoints, card), report, stop, callbacks)
    return loop.run(step, state, iter(batches), log_also or {})


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
  cut_short: Stopped | None = None  # what ended an evaluation, in all processes

  def run(
    self,
    step: Callable[..., Any],
    state: TrainState,
    batches: Iterator[Any],
    log_also: Mapping[str, Callable[[int], float]],
  ) -> tuple[TrainState, Values | None]:
    start = now = int(state.step)
    last = self.total_steps
    values, window = None, Window(now)
    sound = Sound(self.saving, now, last)
    if self._call(state, 'on_start', now, self.saving.scores(now)):
      last = now
    self.saving.wait()
    # An evaluation that was due here may have been cut short by a signal or an error.
    due = now >= last or (_due(now, self.every.evaluate) and self.saving.lacks_score(now))
    if due and not self.saving.has_score(now):
      values = self._scores(state, now)
      if values is not None:
        self.saving.add_score(now, values)
        if self._call(state, 'on_evaluate', now, values):
          last = now
      if self.cut_short or self.stop.reached(now):
        self._stop(now)
    while now < last:
      with self.saving.on_error(state):
        batch = _next(batches, now + 1)
      with self.stop.while_doing(_FIRST if now == start else 'this step'):
        state, measured = step(state, batch)
      now += 1
      window.add(measured, batch)
      sound.first(measured)
      self.report.advance(now)
      stopping = self.stop.reached(now) or self.saving.preempted(now)
      evaluating = now == last or _due(now, self.every.evaluate)
      saving = evaluating or stopping or _due(now, self.every.save)
      if not saving and not _due(now, self.every.log):
        continue

      self.saving.check_folder(state)
      # Here alone the host waits for the device.
      logged = window.close() | {name: value(now) for name, value in log_also.items()}
      sound.check_labelled(window, now)
      self.report.scalars(now, logged)
      self.report.line(now, {name: x for name, x in logged.items() if name not in window.parts})
      sound.check(state, logged, window.since, now, thorough=saving)
      if self._call(state, 'on_log', now, logged):
        last, evaluating = now, True
        sound.check(state, logged, window.since, now, thorough=True)
      if saving or evaluating:
        values = self._scores(state, now) if evaluating and not stopping else None
        with self.stop.while_doing('this checkpoint is saved'):
          self.report.sync()  # no checkpoint is ahead of what was logged until then
          self.saving.save(now, state, values)
        if values is not None and self._call(state, 'on_evaluate', now, values):
          last = now
        if self._call(state, 'on_save', now):
          last = min(last, now if evaluating else now + 1)  # the end's checkpoint has a score
        if stopping or self.cut_short or self.stop.reached(now):
          self._stop(now)
      window = Window(now)
    self.saving.wait()
    return state, values

  def _scores(self, state: TrainState, now: int) -> Values | None:
    """Evaluates. Cut short by a signal, it leaves the checkpoint to be saved without a score."""
    if self.evaluate is None:
      return None
    with (
      self.saving.on_error(state),
      self.stop.while_doing('this image of the evaluation'),
    ):
      began = time.monotonic()
      try:
        found = _sorted(self.evaluate(state, self.stop.check))
      except Stopped as e:
        self.cut_short = e
        return None
      seconds = {'time/evaluation_seconds': time.monotonic() - began}
      self.report.scalars(now, found.values | found.groups | seconds)
      self.report.images(now, found.pictures)
      for name, markdown in found.texts.items():
        self.report.text(now, name, markdown)
      self.report.line(now, found.values)
      return found.values | found.groups

  def _call(self, state: TrainState, method: str, *arguments: Any) -> bool:
    """Calls all callbacks. Returns whether one wants the run to end."""
    ended, failed = False, None
    for callback in self.callbacks:
      try:
        getattr(callback, method)(*arguments)
      except EndTraining as e:
        self.report.say(f'{e}: training ends here.')
        ended = True
      except Exception as e:
        failed = callback, e
        break
    # Processes end and save together, whichever a callback raised in: one alone would wait for
    # the others, and they for it.
    ends, failures = parallel.sum_over_processes(np.array([ended, failed is not None], np.int64))
    if failures:
      self._fail(state, method, failed)
    return bool(ends)

  def _fail(
    self, state: TrainState, method: str, failed: tuple[Callback, Exception] | None
  ) -> None:
    """Saves the state and raises what a callback raised, or that one did in another process."""
    kept, step = self.saving.keep(state), int(state.step)
    if failed is None:
      raise PeerFailed(f'a callback raised in another process at step {step}; {kept}: see there.')
    callback, error = failed
    if isinstance(error, UserError):
      raise error
    message = ' '.join(str(error).split())
    raise UserError(
      f'the callback {type(callback).__name__} raised {type(error).__name__} in {method} at step '
      f'{step} ({message}); {kept}: mend it, or leave it out.'
    ) from error

  def _stop(self, now: int) -> None:
    self.saving.wait()
    # A process that was not asked itself may not know yet by which signal all stop.
    reason = self.stop.received or signal.SIGTERM
    if self.cut_short is not None:
      reason = signal.Signals(self.cut_short.status - 128)
    of = f'step {now} of {self.total_steps}'
    raise Stopped(
      f'{reason.name}: {of} is saved; run the same command to go on from there.'
      if self.saving
      else f'{reason.name}: stopped at {of}, and nothing is saved: give checkpoints= to be able to '
      'go on.',
      reason,
    )


class _Found(NamedTuple):
  """What an evaluation gave, by kind."""

  values: Values
  groups: Values  # by GROUP/NAME
  pictures: dict[str, np.ndarray]
  texts: dict[str, str]


def _sorted(found: Mapping[str, Any]) -> _Found:
  kinds = _Found({}, {}, {}, {})
  for name, x in found.items():
    if isinstance(x, Mapping):
      kinds.groups.update({f'{name}/{key}': float(value) for key, value in x.items()})
    elif isinstance(x, str):
      kinds.texts[name] = x
    elif getattr(x, 'ndim', 0) == 3:
      kinds.pictures[name] = x
    else:
      kinds.values[name] = float(x)
  return kinds


def _next(batches: Iterator[Any], step: int) -> Any:
  for batch in batches:
    return batch
  raise UserError(f'there is no batch for step {step}: give one for each step that is left.')


def _due(step: int, every: int) -> bool:
  return every > 0 and step % every == 0
