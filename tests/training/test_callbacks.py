"""Early stopping: when it ends a run, and that a run which was killed ends where it would have."""

import math

import pytest

from pspnet_jax.errors import UserError
from pspnet_jax.training.callbacks import Callback, EarlyStopping, EndTraining
from pspnet_jax.training.loop import Every, fit
from pspnet_jax.weights.checkpoints import Checkpoints
from tests.training.test_loop import CARD, numbers, state_of, step, stored


def test_a_callback_does_nothing_unless_told():
  callback = Callback()
  callback.on_start(0, {})
  callback.on_log(1, {})
  callback.on_evaluate(1, {})
  callback.on_save(1)


def end_of(stopping, scores):
  """The step at which it ends, evaluated each step with these scores, and what it says."""
  stopping.on_start(0, {})
  for now, score in enumerate(scores, 1):
    try:
      stopping.on_evaluate(now, {'val/mIoU': score, 'val/mAcc': 0.9})
    except EndTraining as e:
      return now, str(e)
  return None, ''


@pytest.mark.parametrize(
  ('patience', 'scores', 'end', 'says'),
  [
    (3, (0.1, 0.2, 0.3, 0.4, 0.5), None, ''),
    (3, (0.3, 0.5, 0.2, 0.4, 0.1, 0.9), 5, 'No better val/mIoU than 0.5000 of step 2 for 3 steps'),
    (2, (0.5, 0.5, 0.5, 0.6), 3, 'than 0.5000 of step 1 for 2 steps'),  # as good is not better
    (1, (0.5, 0.4), 2, 'than 0.5000 of step 1 for 1 steps'),
    (3, (math.nan, 0.1, math.nan, math.nan, math.nan), 5, 'than 0.1000 of step 2'),
    (3, (math.nan,) * 9, 3, 'No val/mIoU for 3 steps'),
  ],
)
def test_it_ends_after_so_many_steps_without_a_better_score(patience, scores, end, says):
  found, message = end_of(EarlyStopping(patience), scores)
  assert found == end and says in message


def test_a_score_of_another_name_is_followed():
  stopping = EarlyStopping(2, score='val/mAcc')
  assert end_of(stopping, (0.1, 0.2, 0.3))[0] == 3  # val/mAcc stays at 0.9
  # The checkpoints' scores are not its own: patience begins anew.
  continued = EarlyStopping(2, score='val/mAcc')
  continued.on_start(10, {8: 0.99, 10: 0.95})
  continued.on_evaluate(11, {'val/mAcc': 0.3})
  with pytest.raises(EndTraining, match=r'0\.3000 of step 11 for 2 steps'):
    continued.on_evaluate(13, {'val/mAcc': 0.3})


def test_a_loss_is_refused_since_it_should_fall():
  with pytest.raises(UserError, match='val/loss should fall: name a score such as val/mIoU'):
    EarlyStopping(2, score='val/loss')


def test_a_score_that_no_evaluation_has_is_named():
  with pytest.raises(
    UserError, match="goes by 'val/IoU', which no evaluation has: name one of val"
  ):
    end_of(EarlyStopping(2, score='val/IoU'), (0.5,))


@pytest.mark.parametrize('patience', [0, -3])
def test_patience_has_to_be_positive(patience):
  with pytest.raises(UserError, match=f'after {patience} steps: make it at least 1'):
    EarlyStopping(patience)


class Killed(Exception):
  pass


def train(folder, scores, patience, every, dies_at=None):
  """Trains until the end, or to a step at which the process dies; returns the last step."""

  def step_or_die(state, batch):
    if dies_at == int(batch['x']):
      raise Killed
    return step(state, batch)

  with Checkpoints(folder) as checkpoints:
    state = state_of()
    if checkpoints.latest_step is not None:
      state = state_of(*stored(checkpoints))
    state, _ = fit(
      step_or_die,
      state,
      numbers(int(state.step) + 1),
      total_steps=40,
      every=every,
      evaluate=lambda state, check: {'val/mIoU': scores[int(state.step)]},
      checkpoints=checkpoints,
      card=CARD,
      callbacks=[EarlyStopping(patience)],
    )
  return int(state.step)


RISING = {step: min(step, 8) / 100 - 0.001 * max(step - 8, 0) for step in range(41)}
PLATEAU = dict.fromkeys(range(41), 0.25)
# Between evaluations there are steps that are past the patience, and the next score is better.
LATE = {step: step / 100 if step <= 12 else 0.0 for step in range(41)}


@pytest.mark.parametrize(
  ('scores', 'patience', 'every', 'end'),
  [
    (RISING, 6, Every(log=0, evaluate=2, save=1), 14),
    (PLATEAU, 6, Every(log=0, evaluate=2, save=1), 8),
    (LATE, 3, Every(log=0, evaluate=4, save=1), 16),
  ],
  ids=['rising', 'plateau', 'late'],
)
def test_a_run_that_was_killed_ends_where_it_would_have_ended(
  tmp_path, scores, patience, every, end
):
  assert train(tmp_path / 'whole', scores, patience, every) == end
  for dies_at in range(2, end + 1):
    with pytest.raises(Killed):
      train(tmp_path / 'cut', scores, patience, every, dies_at)
  assert train(tmp_path / 'cut', scores, patience, every) == end
  # Run once more, it stays there, and says why.
  for folder in ('whole', 'cut'):
    assert train(tmp_path / folder, scores, patience, every) == end
    with Checkpoints(tmp_path / folder) as checkpoints:
      assert checkpoints.latest_step == end
