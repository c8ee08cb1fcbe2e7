"""The loop alone, with a step that adds up numbers; `test_train.py` has the network."""

import dataclasses
import json
import math
import os
import shutil
import signal
import sys

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import Stopped, UserError
from pspnet_jax.evaluation.metrics import Average, Confusion
from pspnet_jax.inference.card import Card
from pspnet_jax.reporting.reporter import Reporter
from pspnet_jax.runtime import parallel
from pspnet_jax.training.callbacks import Callback, EndTraining
from pspnet_jax.training.loop import Every, fit
from pspnet_jax.training.state import TrainState
from pspnet_jax.training.stop_signals import StopSignals
from pspnet_jax.weights.checkpoints import Checkpoints
from tests import tiny

SPEC = DatasetSpec(('a', 'b'), ((0, 0, 0), (9, 9, 9)))
CARD = Card(network={'num_classes': 2}, spec=SPEC, crop_size=(8, 8))


def state_of(step=0, total=0.0):
  params = {'backbone/total': jnp.float32(total)}
  return TrainState(jnp.int32(step), params, {}, {'trace': jnp.float32(0)})


def step(state, batch):
  """Adds the batch to the parameter."""
  total = state.params['backbone/total'] + batch['x']
  new = dataclasses.replace(state, step=state.step + 1, params={'backbone/total': total})
  return new, {'loss': batch['x']}


def numbers(first=1):
  """Batches 1, 2, 3 ...: of the step."""
  while True:
    yield {'x': jnp.float32(first)}
    first += 1


class Recorder(Callback):
  def __init__(self, **raises):
    self.calls, self.raises = [], raises

  def _called(self, method, step, *rest):
    self.calls.append((method, step, *rest))
    error = self.raises.get(method)
    if error is not None and (error[0] in (None, step)):
      raise error[1]

  def on_start(self, step, scores):
    self._called('on_start', step, dict(scores))

  def on_log(self, step, values):
    self._called('on_log', step, values)

  def on_evaluate(self, step, values):
    self._called('on_evaluate', step, values)

  def on_save(self, step):
    self._called('on_save', step)

  def steps(self, method):
    return [call[1] for call in self.calls if call[0] == method]

  def values(self, method):
    return {call[1]: call[2] for call in self.calls if call[0] == method}


def score(state, check):
  """Gives the parameter as the score."""
  check()
  return {'val/mIoU': float(state.params['backbone/total'])}


@pytest.fixture
def checkpoints(tmp_path):
  with Checkpoints(tmp_path) as checkpoints:
    yield checkpoints


def run(*callbacks, total_steps=6, every=Every(log=2, evaluate=4, save=3), **options):  # noqa: B008
  options = {'step': step, 'state': state_of(), 'batches': numbers(), 'evaluate': score, **options}
  return fit(
    **options, total_steps=total_steps, every=every, card=CARD, callbacks=callbacks, stop=None
  )


def stored(checkpoints):
  """The step and the parameter of the latest checkpoint."""
  checkpoints.wait()
  found, items = checkpoints.restore(
    jax.eval_shape(state_of).items(), jax.sharding.SingleDeviceSharding(jax.devices()[0])
  )
  return found, float(items['params']['backbone/total'])


# --- What is done when


def test_it_logs_evaluates_and_saves_when_due_and_at_the_end(checkpoints):
  recorder = Recorder()
  state, values = run(recorder, checkpoints=checkpoints, total_steps=7)
  assert int(state.step) == 7 and values == {'val/mIoU': 28.0}
  # Whatever is evaluated or saved is logged too.
  assert recorder.steps('on_log') == [2, 3, 4, 6, 7]
  assert recorder.steps('on_evaluate') == [4, 7]
  assert recorder.steps('on_save') == [3, 4, 6, 7]
  assert stored(checkpoints) == (7, 28.0) and checkpoints.score(7) == 28.0


def test_nothing_is_due_but_the_end():
  recorder = Recorder()
  run(recorder, every=Every(log=0, evaluate=0, save=0), total_steps=3)
  assert recorder.steps('on_log') == recorder.steps('on_evaluate') == [3]


def test_what_is_logged_is_the_mean_since_the_last_log():
  recorder = Recorder()
  run(recorder, every=Every(log=2, evaluate=0, save=0), log_also={'lr': lambda done: done / 10})
  assert recorder.values('on_log') == {
    2: {'train/loss': 1.5, 'lr': 0.2},
    4: {'train/loss': 3.5, 'lr': 0.4},
    6: {'train/loss': 5.5, 'lr': 0.6},
  }


def test_callbacks_are_called_in_order_with_what_happened(checkpoints):
  calls = []

  class Named(Recorder):
    def __init__(self, name):
      super().__init__()
      self.name = name

    def _called(self, *call):
      calls.append((self.name, *call))

  every = Every(log=1, evaluate=2, save=0)
  run(Named('a'), Named('b'), total_steps=2, every=every, checkpoints=checkpoints)
  both = [
    ('on_start', 0, {}),
    ('on_log', 1, {'train/loss': 1.0}),
    ('on_log', 2, {'train/loss': 2.0}),
    ('on_evaluate', 2, {'val/mIoU': 3.0}),
    ('on_save', 2),
  ]
  assert calls == [(name, *call) for call in both for name in 'ab']


def test_a_run_goes_on_from_the_step_of_its_state(checkpoints):
  run(checkpoints=checkpoints, total_steps=3)
  found, total = stored(checkpoints)
  recorder = Recorder()
  state, values = run(
    recorder, state=state_of(found, total), batches=numbers(4), checkpoints=checkpoints
  )
  assert recorder.calls[0] == ('on_start', 3, {3: 6.0})
  assert (int(state.step), values) == (6, {'val/mIoU': 21.0})
  assert recorder.steps('on_log') == [4, 6]


def test_a_run_without_steps_left_is_evaluated_if_it_was_not(checkpoints):
  recorder = Recorder()
  state, values = run(recorder, state=state_of(6, 21.0), checkpoints=checkpoints)
  assert values == {'val/mIoU': 21.0} and int(state.step) == 6
  assert recorder.steps('on_evaluate') == [6]
  checkpoints.save(6, state.items(), CARD, 0.5)
  _, values = run(state=state_of(6, 21.0), checkpoints=checkpoints)
  assert values is None


def test_a_state_older_than_the_checkpoints_is_refused(checkpoints):
  """Else the newer checkpoint would stay the latest, and what is trained here be lost."""
  run(checkpoints=checkpoints, total_steps=3)
  with pytest.raises(UserError, match=r'holds step 3, and the state given is of step 0: '):
    run(checkpoints=checkpoints)


def test_without_evaluation_the_end_is_saved_and_no_values_come_back(checkpoints):
  state, values = run(evaluate=None, checkpoints=checkpoints)
  assert values is None and stored(checkpoints) == (6, float(state.params['backbone/total']))
  assert checkpoints.best_step is None


# --- What a step measures


@flax.struct.dataclass
class Largest:
  """A metric of one's own."""

  value: jax.Array

  def merge(self, other):
    return Largest(jnp.maximum(self.value, other.value))

  def compute(self):
    return self.value


def measuring(**measures):
  def measured(state, batch):
    state, _ = step(state, batch)
    return state, {name: measure(batch['x']) for name, measure in measures.items()}

  return measured


def logged_at_the_end(**measures):
  recorder = Recorder()
  every = Every(log=0, evaluate=0, save=0)
  run(recorder, step=measuring(**measures), total_steps=4, every=every, evaluate=None)
  [values] = recorder.values('on_log').values()
  return values


def test_scalars_are_averaged_and_what_can_be_merged_is_merged():
  assert logged_at_the_end(
    loss=lambda x: x,
    python=lambda x: 3,
    largest=Largest,
    weighted=lambda x: Average(total=x * x, count=jnp.int32(2)),
  ) == {'train/loss': 2.5, 'train/python': 3.0, 'train/largest': 4.0, 'train/weighted': 30 / 8}


def test_averages_are_taken_in_float32():
  """Numbers of eight bits would stop growing, and integers overflow."""
  values = logged_at_the_end(
    half=lambda x: (x + 256).astype(jnp.bfloat16), large=lambda x: jnp.int32(2_000_000_000)
  )
  assert values['train/half'] == np.mean([256, 258, 260, 260])  # as bfloat16 has 257 to 260
  assert values['train/large'] == pytest.approx(2e9)


def test_a_confusion_matrix_is_logged_as_its_miou():
  def count(x):
    label = jnp.array([0, 0, 1, 255])
    return Confusion.count(label, jnp.where(x < 3, 0, jnp.array([0, 0, 1, 1])), 2)

  # Class 0: 8 of 10 pixels; class 1: 2 of 4.
  assert logged_at_the_end(confusion=count, mine=count) == {
    'train/mIoU': pytest.approx((8 / 10 + 2 / 4) / 2),
    'train/mine/mIoU': pytest.approx((8 / 10 + 2 / 4) / 2),
  }


def test_what_is_no_scalar_is_refused():
  with pytest.raises(UserError, match=r"^the step measures 'edges' of shape \(2, 2\): "):
    logged_at_the_end(edges=lambda x: jnp.ones((2, 2)))


def test_speed_counts_the_images_of_batches_that_have_some():
  recorder = Recorder()
  batches = ({'x': jnp.float32(1), 'image': np.zeros((5, 2, 2, 3))} for _ in range(4))
  run(recorder, batches=batches, every=Every(log=4), total_steps=4, evaluate=None)
  assert 0 < recorder.calls[1][2]['images_per_second'] < math.inf
  for batch in (jnp.float32(1), (jnp.float32(1), jnp.ones(3)), [np.ones(2)]):
    recorder = Recorder()
    only = lambda state, batch: step(state, {'x': jnp.float32(1)})  # noqa: E731
    run(recorder, step=only, batches=iter([batch] * 4), total_steps=4)
    assert 'images_per_second' not in recorder.calls[1][2]


def test_evaluating_and_saving_do_not_count_as_training_time(monkeypatch):
  now = [0.0]
  monkeypatch.setattr('time.monotonic', lambda: now[0])

  def slow(state, batch):
    now[0] += 1
    return step(state, batch)

  def evaluate(state, check):
    now[0] += 1000
    return {}

  recorder = Recorder()
  batches = ({'x': jnp.float32(1), 'image': np.zeros((8, 1))} for _ in range(9))
  run(recorder, step=slow, batches=batches, evaluate=evaluate, every=Every(log=2, evaluate=2))
  logged = recorder.values('on_log')
  assert [values['images_per_second'] for values in logged.values()] == [8.0] * 3


# --- Batches


def test_batches_that_run_out_are_named_and_the_state_is_saved(checkpoints):
  with pytest.raises(UserError, match=r'^there is no batch for step 5: '):
    run(batches=iter([{'x': jnp.float32(1)}] * 4), checkpoints=checkpoints)
  assert stored(checkpoints) == (4, 4.0)


def test_a_list_of_batches_is_taken_one_after_another():
  batches = [{'x': jnp.float32(x)} for x in (1, 2, 3, 4, 5, 6)]
  state, _ = run(batches=batches)
  assert float(state.params['backbone/total']) == 21


def test_an_error_of_the_data_saves_what_was_learnt(checkpoints):
  def broken():
    yield {'x': jnp.float32(1)}
    raise OSError('no such image')

  with pytest.raises(OSError, match='no such image'):
    run(batches=broken(), checkpoints=checkpoints)
  assert stored(checkpoints) == (1, 1.0)


def test_where_several_processes_train_one_alone_saves_nothing(checkpoints, monkeypatch):
  """It would wait for the others, which know of no error, for minutes."""

  def broken():
    yield {'x': jnp.float32(1)}
    monkeypatch.setattr(jax, 'process_count', lambda: 2)
    raise OSError('no such image')

  with pytest.raises(OSError, match='no such image'):
    run(batches=broken(), checkpoints=checkpoints)
  monkeypatch.undo()
  checkpoints.wait()
  assert checkpoints.latest_step is None


def test_what_is_not_finite_is_not_saved_when_something_else_fails(checkpoints):
  def broken():
    yield {'x': jnp.float32(math.inf)}
    raise OSError('no such image')

  with pytest.raises(OSError, match='no such image'):
    run(batches=broken(), checkpoints=checkpoints)
  checkpoints.wait()
  assert checkpoints.latest_step is None


def test_an_error_of_the_evaluation_saves_what_was_learnt(checkpoints):
  def evaluate(state, check):
    raise OSError('no such label')

  with pytest.raises(OSError, match='no such label'):
    run(evaluate=evaluate, checkpoints=checkpoints)
  assert stored(checkpoints) == (4, 10.0)


@pytest.mark.parametrize('where', ['loss', 'parameter'])
def test_what_is_not_finite_ends_the_run_and_names_the_sound_checkpoint(checkpoints, where):
  def diverge(state, batch):
    state, measured = step(state, batch)
    bad = jnp.float32(math.nan if batch['x'] > 3 else 1)
    if where == 'loss':
      return state, {'loss': measured['loss'] * bad}
    params = {name: x * bad for name, x in state.params.items()}
    return dataclasses.replace(state, params=params), measured

  message = r'finite between steps 4 and 4; the checkpoint of step 3 is saved: '
  with pytest.raises(UserError, match=message):
    run(step=diverge, checkpoints=checkpoints)
  assert stored(checkpoints) == (3, 6.0)
  with pytest.raises(UserError, match='no checkpoint was saved'):
    run(step=diverge)


# --- Callbacks that raise


@pytest.mark.parametrize(
  ('method', 'step', 'kept'),
  [
    ('on_start', 0, 'no checkpoint was saved'),
    ('on_log', 2, 'the checkpoint of step 2 is saved'),
    ('on_evaluate', 4, 'the checkpoint of step 4 is saved'),
    ('on_save', 3, 'the checkpoint of step 3 is saved'),
  ],
)
def test_a_callback_that_raises_ends_the_run_with_its_name_and_loses_nothing(
  checkpoints, method, step, kept
):
  recorder = Recorder(**{method: (None, ZeroDivisionError('by\nzero'))})
  with pytest.raises(UserError) as caught:
    run(recorder, checkpoints=checkpoints)
  assert str(caught.value) == (
    f'the callback Recorder raised ZeroDivisionError in {method} at step {step} (by zero); {kept}: '
    'mend it, or leave it out.'
  )
  assert isinstance(caught.value.__cause__, ZeroDivisionError)
  checkpoints.wait()
  assert checkpoints.latest_step == (step or None)
  if method == 'on_evaluate':
    assert checkpoints.score(step) == 10.0


def test_callbacks_after_one_that_raises_are_not_called():
  after = Recorder(on_log=(None, KeyError('later')))
  with pytest.raises(UserError, match='raised ZeroDivisionError in on_log at step 2'):
    run(Recorder(on_log=(2, ZeroDivisionError())), after)
  assert after.steps('on_log') == []


def test_the_error_of_a_callback_for_users_stays_as_it_is(checkpoints):
  with pytest.raises(UserError, match=r'^no account: log in\.$'):
    run(Recorder(on_log=(2, UserError('no account: log in.'))), checkpoints=checkpoints)
  assert stored(checkpoints) == (2, 3.0)


@pytest.mark.parametrize(
  ('method', 'at', 'end'),
  [
    ('on_start', 0, 0),
    ('on_log', 2, 2),
    ('on_evaluate', 4, 4),
    ('on_save', 4, 4),  # evaluated
    ('on_save', 3, 4),  # not evaluated: the step after is, so that its checkpoint has a score
  ],
)
def test_a_callback_ends_the_run_in_good_order(checkpoints, capsys, method, at, end):
  ender, after = Recorder(**{method: (at, EndTraining('Enough'))}), Recorder()
  state, values = run(ender, after, checkpoints=checkpoints)
  assert int(state.step) == end
  assert values == {'val/mIoU': sum(range(end + 1))}
  assert after.calls[0] == ('on_start', 0, {})
  assert after.steps('on_evaluate') == [end]
  if end:
    assert after.steps('on_save')[-1] == end
    assert stored(checkpoints)[0] == end and checkpoints.score(end) == values['val/mIoU']
  assert 'Enough: training ends here.' in capsys.readouterr().out


def test_a_run_that_a_callback_ends_is_checked_before_it_is_saved(checkpoints):
  """Logging looks at the loss alone, saving at the parameters too."""

  def diverge(state, batch):
    state, measured = step(state, batch)
    return dataclasses.replace(state, params={'backbone/total': jnp.float32(math.inf)}), measured

  with pytest.raises(UserError, match='stopped being finite between steps 1 and 2'):
    run(Recorder(on_log=(2, EndTraining('Enough'))), step=diverge, checkpoints=checkpoints)
  assert checkpoints.latest_step is None


@pytest.mark.parametrize('error', [EndTraining('Enough'), ZeroDivisionError('zero')])
def test_processes_end_together_where_a_callback_raises_in_one(checkpoints, monkeypatch, error):
  """Here the sum over processes is one of this process and another, which raised."""
  others = np.int64([isinstance(error, EndTraining), not isinstance(error, EndTraining)])
  seen = []

  def sum_over_processes(x):
    if x.shape != others.shape:  # not of callbacks
      return x
    seen.append(x.tolist())
    return x + others * (len(seen) == 2)  # on_start, then on_log of step 2

  monkeypatch.setattr(parallel, 'sum_over_processes', sum_over_processes)
  if isinstance(error, EndTraining):
    state, values = run(Recorder(), checkpoints=checkpoints)
    assert int(state.step) == 2 and values == {'val/mIoU': 3.0}
  else:
    with pytest.raises(UserError, match='a callback raised in another process at step 2; the che'):
      run(checkpoints=checkpoints)  # with no callback of its own
  assert stored(checkpoints) == (2, 3.0)


# --- Signals


def stopping(at):
  """A step that gets a signal."""

  def stopped(state, batch):
    if int(batch['x']) == at:
      os.kill(os.getpid(), signal.SIGTERM)
    return step(state, batch)

  return stopped


def test_a_signal_saves_the_step_and_says_so(checkpoints):
  before = signal.getsignal(signal.SIGTERM)
  with pytest.raises(Stopped, match=r'^SIGTERM: step 5 of 6 is saved; run the same .* go on from'):
    run(step=stopping(5), checkpoints=checkpoints)
  assert stored(checkpoints) == (5, 15.0) and checkpoints.score(5) is None
  assert signal.getsignal(signal.SIGTERM) == before


def test_a_signal_without_checkpoints_promises_nothing():
  with pytest.raises(Stopped) as caught:
    run(step=stopping(5))
  assert str(caught.value) == (
    'SIGTERM: stopped at step 5 of 6, and nothing is saved: give checkpoints= to be able to go on.'
  )
  assert caught.value.status == 128 + signal.SIGTERM


def test_a_signal_leaves_no_time_to_evaluate(checkpoints):
  recorder = Recorder()
  never = lambda state, check: pytest.fail('evaluated')  # noqa: E731
  with pytest.raises(Stopped, match='step 4 of 6 is saved'):
    run(recorder, step=stopping(4), evaluate=never, checkpoints=checkpoints)
  assert recorder.steps('on_evaluate') == [] and recorder.steps('on_save') == [3, 4]


@pytest.mark.parametrize('step_left', [True, False])
def test_a_signal_while_evaluating_stops_too(checkpoints, step_left):
  def evaluate(state, check):
    os.kill(os.getpid(), signal.SIGINT)
    check()
    raise AssertionError('not stopped')

  if step_left:
    with pytest.raises(Stopped, match='SIGINT: step 4 of 6 is saved'):
      run(evaluate=evaluate, checkpoints=checkpoints)
    assert stored(checkpoints) == (4, 10.0) and checkpoints.score(4) is None
  else:
    checkpoints.save(6, state_of(6, 21.0).items(), CARD)
    with pytest.raises(Stopped, match='SIGINT: step 6 of 6 is saved'):
      run(state=state_of(6, 21.0), evaluate=evaluate, checkpoints=checkpoints)


@pytest.mark.parametrize(
  ('when', 'after'),
  [
    ('first step', 'this step, which is compiled first'),
    ('second step', 'this step'),
    ('evaluation', 'this image of the evaluation'),
    ('saving', 'this checkpoint is saved'),
  ],
)
def test_a_signals_answer_says_what_is_waited_for(checkpoints, monkeypatch, capsys, when, after):
  def stopped(*arguments):
    os.kill(os.getpid(), signal.SIGTERM)
    return save(*arguments) if when == 'saving' else score(*arguments)

  save, options = checkpoints.save, {}
  if when.endswith('step'):
    options = {'step': stopping(1 if when == 'first step' else 2)}
  elif when == 'evaluation':
    options = {'evaluate': stopped}
  else:
    monkeypatch.setattr(checkpoints, 'save', stopped)
  with pytest.raises(Stopped):
    run(checkpoints=checkpoints, every=Every(log=2, evaluate=4, save=0), **options)
  answer = f'SIGTERM: stopping after {after}; a second one stops at once.\n'
  assert capsys.readouterr().err == answer


@pytest.mark.parametrize('end', [8, 4])
@pytest.mark.parametrize('how', ['signal', 'killed', 'error'])
def test_an_evaluation_that_was_cut_short_is_made_up_for(checkpoints, how, end):
  """The best checkpoint is then the one of a run that nobody stopped, the first of the scores."""

  def cut_short(state, check):
    if how == 'signal':
      os.kill(os.getpid(), signal.SIGINT)
      check()
    raise OSError('no such label')

  def worse_and_worse(state, check):
    return {'val/mIoU': 1 / float(state.params['backbone/total'])}

  options = {'checkpoints': checkpoints, 'total_steps': end}
  if how == 'killed':  # when another process had saved the step, for a reason of its own
    checkpoints.save(4, state_of(4, 10.0).items(), CARD)
  else:
    with pytest.raises((Stopped, OSError)):
      run(evaluate=cut_short, **options)
  found, total = stored(checkpoints)
  assert (found, total, checkpoints.score(4), checkpoints.best_step) == (4, 10.0, None, None)

  recorder = Recorder()
  again = {'state': state_of(found, total), 'batches': numbers(5), 'evaluate': worse_and_worse}
  _, values = run(recorder, **again, **options)
  assert checkpoints.best_step == 4 and checkpoints.score(4) == 1 / 10
  assert recorder.calls[:2] == [('on_start', 4, {}), ('on_evaluate', 4, {'val/mIoU': 1 / 10})]
  assert values == {'val/mIoU': 1 / (end * (end + 1) / 2)}
  checkpoints.wait()
  kept = {int(path.name) for path in checkpoints.directory.iterdir()}
  assert {4, end} <= kept


def test_made_up_for_it_may_be_cut_short_again_or_end_the_run(checkpoints):
  checkpoints.save(4, state_of(4, 10.0).items(), CARD)
  again = {'state': state_of(4, 10.0), 'batches': numbers(5), 'checkpoints': checkpoints}

  def stop(state, check):
    os.kill(os.getpid(), signal.SIGTERM)
    check()

  with pytest.raises(Stopped, match='step 4 of 6 is saved'):
    run(evaluate=stop, **again)
  assert checkpoints.score(4) is None
  state, values = run(Recorder(on_evaluate=(4, EndTraining('Enough'))), **again)
  assert int(state.step) == 4 and values == {'val/mIoU': 10.0} and checkpoints.score(4) == 10.0


def test_all_end_with_the_status_that_the_evaluation_was_cut_short_with(checkpoints):
  """As where another process got the signal, and this one has not read by now which it was."""

  def cut_short(state, check):
    raise Stopped('stopped in another process.', signal.SIGINT)

  with pytest.raises(Stopped, match='SIGINT: step 4 of 6 is saved') as raised:
    run(evaluate=cut_short, checkpoints=checkpoints, every=Every(evaluate=4))
  assert raised.value.status == 130


def test_what_was_not_due_is_not_evaluated_late(checkpoints):
  checkpoints.save(3, state_of(3, 6.0).items(), CARD)
  recorder = Recorder()
  run(recorder, state=state_of(3, 6.0), batches=numbers(4), checkpoints=checkpoints)
  assert recorder.steps('on_evaluate') == [4, 6] and checkpoints.score(3) is None


# --- The folder


@pytest.mark.parametrize('how', ['removed', 'moved', 'checkpoints'])
def test_a_folder_that_is_gone_ends_the_run_and_nothing_is_lost(checkpoints, tmp_path, how):
  folder = checkpoints.directory.parent

  def lose(state, batch):
    if int(batch['x']) == 5:
      checkpoints.wait()
      if how == 'moved':
        folder.rename(tmp_path.parent / f'{tmp_path.name}-moved')
      else:
        shutil.rmtree(folder if how == 'removed' else checkpoints.directory)
    return step(state, batch)

  message = (
    rf'^{folder} was removed or moved while training went on, with what was saved there; the '
    r'checkpoint of step 6 is saved: run the same command to go on\.$'
  )
  with (
    pytest.raises(UserError, match=message),
    Reporter(folder, total_steps=9) as report,  # whose files go too
  ):
    run(step=lose, checkpoints=checkpoints, total_steps=9, report=report)
  assert stored(checkpoints) == (6, 21.0)
  checkpoints.close()
  again = Checkpoints(folder, read_only=True)
  assert again.step('best') == again.step('latest') == 6
  if how == 'moved':
    moved = Checkpoints(tmp_path.parent / f'{tmp_path.name}-moved', read_only=True)
    assert moved.latest_step == 4


def test_signals_that_the_caller_listens_to_are_heard():
  with StopSignals() as stop:
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(Stopped, match='SIGINT: stopped at step 1 of 6'):
      fit(step, state_of(), numbers(), total_steps=6, stop=stop)


# --- Reports


def test_it_reports_to_the_console_of_its_own_accord(capsys):
  run()
  out = capsys.readouterr().out
  assert 'step 2/6' in out and 'loss' in out and 'mIoU' in out


def test_what_an_evaluation_gives_goes_where_its_kind_belongs(tmp_path, monkeypatch, capsys):
  picture, sent = np.zeros((2, 3, 3), np.uint8), []
  monkeypatch.setattr(Reporter, 'images', lambda self, *x: sent.append(x))
  monkeypatch.setattr(Reporter, 'text', lambda self, *x: sent.append(x))
  given = {
    'val/mIoU': np.float32(0.5),
    'val_IoU': {'car': 0.25, 'a/b': math.nan},
    'val/0': picture,
    'val/classes': '| a |',
  }
  recorder = Recorder()
  with Reporter(tmp_path, total_steps=4) as report:
    _, values = run(recorder, evaluate=lambda *_: given, total_steps=4, report=report)
  assert values == recorder.values('on_evaluate')[4]
  assert list(values) == ['val/mIoU', 'val_IoU/car', 'val_IoU/a/b']
  assert sent == [(4, {'val/0': picture}), (4, 'val/classes', '| a |')]
  records = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
  assert [r['step'] for r in records] == [2, 3, 4, 4]
  assert records[-1]['val/mIoU'] == 0.5 and records[-1]['val_IoU/car'] == 0.25
  assert records[-1]['val_IoU/a/b'] is None and records[-1]['time/evaluation_seconds'] >= 0
  assert 'step 4/4  mIoU 50.00%\n' in capsys.readouterr().out


def test_checkpoints_need_a_card(checkpoints):
  with pytest.raises(ValueError, match='card='):
    fit(step, state_of(), numbers(), total_steps=1, checkpoints=checkpoints)


# --- Several processes

TWO = """
import sys
import jax
jax.distributed.initialize(f'127.0.0.1:{sys.argv[1]}', 2, int(sys.argv[2]))
import jax.numpy as jnp
from pspnet_jax.runtime import parallel
from pspnet_jax.training.callbacks import EndTraining
from pspnet_jax.weights.checkpoints import Checkpoints
from tests import tiny
from tests.training.test_loop import *

error = {'ends': EndTraining('Enough'), 'raises': ZeroDivisionError('zero')}[sys.argv[3]]
mine = [Recorder(on_log=(2, error))] if jax.process_index() == 1 else []
on_mesh = parallel.replicated(parallel.make_mesh())
checkpoints = Checkpoints(sys.argv[4])
try:
  state, values = run(
    *mine,
    step=jax.jit(step, out_shardings=on_mesh),
    state=jax.device_put(state_of(), on_mesh),
    checkpoints=checkpoints,
  )
  print('ended', int(state.step), values)
except UserError as e:
  print(e)
checkpoints.close()
"""


@pytest.mark.slow
@pytest.mark.parametrize('how', ['ends', 'raises'])
def test_two_processes_end_and_save_together(tmp_path, how):
  outs = tiny.at_once(
    lambda port, i: [sys.executable, '-c', TWO, str(port), str(i), how, str(tmp_path)], timeout=120
  )
  last = [out.splitlines()[-1] for out in outs]
  if how == 'ends':
    assert last == ["ended 2 {'val/mIoU': 3.0}"] * 2
  else:
    assert last[0].startswith('a callback raised in another process at step 2; the checkpoint of s')
    assert last[1].startswith('the callback Recorder raised ZeroDivisionError in on_log at step 2')
  assert Checkpoints(tmp_path, read_only=True).latest_step == 2
