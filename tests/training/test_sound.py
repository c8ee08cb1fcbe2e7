"""When a run ends because what it learns is nothing, or ruined; in the loop."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from pspnet_jax.errors import UserError
from pspnet_jax.evaluation.metrics import Average, Confusion
from pspnet_jax.training.loop import Every
from pspnet_jax.weights.checkpoints import Checkpoints
from tests.training.test_loop import numbers, run, state_of, step, stored


@pytest.fixture
def checkpoints(tmp_path):
  with Checkpoints(tmp_path) as checkpoints:
    yield checkpoints


def losing(losses):
  """A step whose loss is the next of these, and then the last of them."""
  left = list(losses)

  def next_loss(state, batch):
    loss = left.pop(0) if len(left) > 1 else left[0]
    return step(state, batch)[0], {'loss': Average.of(jnp.float32(loss))}

  return next_loss


# --- Divergence


def test_a_loss_that_has_grown_a_hundredfold_is_not_saved(checkpoints):
  every = Every(log=1, evaluate=0, save=2)
  with pytest.raises(UserError) as caught:
    run(step=losing([1.1, 1.3, 1.2, 2.6e10]), checkpoints=checkpoints, every=every)
  assert str(caught.value) == (
    'the loss has grown to 2.6e+10 between steps 4 and 4; the checkpoint of step 2 is saved: lower '
    'config.optimizer.base_lr and run the command again.'
  )
  assert stored(checkpoints)[0] == 2


def test_one_that_diverges_before_anything_is_saved_leaves_nothing_to_go_on_from(checkpoints):
  with pytest.raises(UserError, match=r'grown to 1\.3e\+10 .* no checkpoint was saved: lower conf'):
    run(step=losing([1.1, 2.6e10]), checkpoints=checkpoints, every=Every(log=2, save=2))
  checkpoints.wait()
  assert checkpoints.latest_step is None


def test_a_loss_of_ones_own_has_its_own_scale(checkpoints):
  state, _ = run(step=losing([5e4, 9e4, 2e5, 1e3]), checkpoints=checkpoints)
  assert int(state.step) == 6


def test_a_peak_between_saves_does_not_end_a_run(checkpoints):
  every = Every(log=1, evaluate=0, save=0)
  assert int(run(step=losing([1, 1e9, 1]), every=every, checkpoints=checkpoints)[0].step) == 6


@pytest.mark.parametrize('bad', [np.nan, 1e10])
@pytest.mark.parametrize('scored', [True, False])
def test_diverging_again_names_a_way_out_that_is_not_the_same_again(checkpoints, bad, scored):
  options = {'checkpoints': checkpoints, 'every': Every(log=1, evaluate=0, save=3)}
  if not scored:
    options['evaluate'] = None
  run(step=losing([1.1]), total_steps=3, **options)
  found, total = stored(checkpoints)
  with pytest.raises(UserError) as caught:
    run(state=state_of(found, total), batches=numbers(4), step=losing([1.1, 1.1, bad]), **options)
  message = str(caught.value)
  assert 'that was after going on from step 3: begin ' in message
  assert 'in another workdir with a lower config.optimizer.base_lr' in message
  assert 'run the command again' not in message
  way = f'from the best checkpoint, step 3, with --config.init_from={checkpoints.directory.parent}.'
  assert message.endswith(way) == scored


@pytest.mark.parametrize('where', ['batch_stats', 'opt_state', 'ema_params'])
def test_nothing_that_is_not_finite_is_saved(checkpoints, where):
  """Infinite statistics or momentum are found at a save, though the loss is finite."""

  def spoilt(state, batch):
    state, measured = step(state, batch)
    return dataclasses.replace(state, **{where: {'x': jnp.float32(np.inf)}}), measured

  with pytest.raises(UserError, match='a parameter stopped being finite between steps 3 and 3'):
    run(step=spoilt, checkpoints=checkpoints)
  assert checkpoints.latest_step is None


# --- Labels


def labelled(first, *, loss=0.0):
  """A step that sees labelled pixels from the step `first` on."""

  def measured(state, batch):
    count = Confusion.count(jnp.where(batch['x'] < first, 255, jnp.array([0, 1])), jnp.zeros(2), 2)
    return step(state, batch)[0], {'loss': jnp.float32(loss), 'confusion': count}

  return measured


def test_a_run_without_a_labelled_pixel_ends_with_a_sentence(checkpoints):
  never = pytest.fail
  with pytest.raises(UserError, match=r'^no pixel of the last 50 batches has a class, all are 255'):
    run(step=labelled(99), total_steps=200, every=Every(log=10), evaluate=never)
  with pytest.raises(UserError, match='no pixel of the last 4 batches has a class'):
    run(step=labelled(99), total_steps=4, evaluate=never, checkpoints=checkpoints)
  checkpoints.wait()
  assert checkpoints.latest_step == 3


@pytest.mark.parametrize(
  ('measuring', 'begins'),
  [
    (labelled(5), 0),  # the first batches have none
    (labelled(99, loss=0.1), 0),  # none of the pixels that are looked at
    (labelled(99), 4),  # the last two of many: the first steps had some
  ],
)
def test_sparse_labels_are_no_reason_to_end(measuring, begins):
  state, _ = run(step=measuring, state=state_of(begins), every=Every(log=1), evaluate=None)
  assert int(state.step) == 6
