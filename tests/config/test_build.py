"""A run made of a config: everything that the loop needs, and where it begins."""

import dataclasses
import json

import jax
import numpy as np
import optax
import pytest
from PIL import Image

from pspnet_jax.config import build
from pspnet_jax.data import prepared
from pspnet_jax.errors import UserError
from pspnet_jax.runtime import parallel
from pspnet_jax.training.callbacks import EarlyStopping
from pspnet_jax.training.loop import Every
from tests import own, tiny

pytestmark = pytest.mark.usefixtures('one_device')


def test_a_run_is_what_the_config_says(tmp_path):
  c = tiny.config(
    tmp_path, total_steps=9, log_every=3, eval_every=4, checkpoint_every=5, early_stopping=2, seed=3
  )
  with build.run(c, tmp_path / 'run') as run:
    assert (run.start_step, run.total_steps, run.devices) == (0, 9, 1)
    assert run.every == Every(log=3, evaluate=4, save=5)
    assert len(run.source) == 24 and run.notes == []
    assert type(run.callbacks[0]) is EarlyStopping
    assert run.card.network['depth'] == 10 and run.card.crop_size == (33, 49)
    assert run.checkpoints.latest_step is None
    assert run.log_also.keys() == {'learning_rate'}
    # The last step's rate is the one the ninth step is taken with.
    assert run.log_also['learning_rate'](1) == pytest.approx(0.01)
    assert run.log_also['learning_rate'](9) == pytest.approx(0.01 * (1 / 9) ** 0.9)
    initial, _ = run.network.init(3)
    jax.tree.map(np.testing.assert_array_equal, run.state.params, initial)
    batch = next(run.batches)
    assert batch['image'].shape == (8, 33, 49, 3) and batch['label'].shape == (8, 33, 49)
  saved = json.loads((tmp_path / 'run' / 'config.json').read_text())
  assert (saved['total_steps'], saved['model']['name']) == (9, 'pspnet')


def test_validation_images_that_are_trained_on_are_told(tmp_path, monkeypatch):
  splits = {'train': ['scenes/train', 'scenes/val'], 'val': ['scenes/val']}
  monkeypatch.setitem(prepared.SPLITS, 'context_scenes', splits)
  with build.run(tiny.config(tmp_path), tmp_path / 'run') as run:
    assert run.notes == [
      'Images of scenes/val are both trained on and evaluated: their scores tell nothing of other '
      'images.'
    ]


def test_the_step_is_compiled_as_the_config_and_the_devices_say(tmp_path, monkeypatch):
  asked = {}

  def options(network, platform, **how):
    asked.update(how, platform=platform)
    return {'compiler_options': {}}

  monkeypatch.setattr(build, 'jit_options', options)
  with build.run(tiny.config(tmp_path, deterministic=True), tmp_path / 'run') as run:
    [note] = run.notes
  assert asked == {'platform': 'cpu', 'devices': 1, 'deterministic': True}
  assert note.startswith('config.deterministic does nothing on a CPU')


def test_what_the_compiler_is_told_beyond_the_usual_is_said():
  def notes(platform, options, deterministic=False):
    return [*build._on_compiling(platform, options, deterministic)]

  assert notes('cpu', {'xla_disable_hlo_passes': 'cse'}) == notes('gpu', {}) == []
  assert notes('gpu', {'xla_a': 'True', 'xla_b': '0'}) == ['Compiler options: xla_a=True, xla_b=0.']
  [note] = notes('tpu', {}, deterministic=True)
  assert note == 'config.deterministic does nothing: XLA has no options for it on TPUs.'


def test_what_batch_statistics_see_of_a_batch_in_parts_is_said(tmp_path):
  def said(**changes):
    return [*build._on_parts(tiny.config(tmp_path, **changes))]

  assert said() == said(model__ghost_batch_size=2) == []
  in_parts = 'Each batch of 8 is taken in 2 parts: batch statistics are of '
  assert said(accumulation_steps=2) == [f'{in_parts}4 images each.']
  ghost = {'accumulation_steps': 2, 'model__ghost_batch_size': 2}
  assert said(**ghost) == [f'{in_parts}2 images each (model.ghost_batch_size).']
  [note] = said(accumulation_steps=2, model__fixed_batch_stats=('backbone', 'pyramid'))
  assert note == f'{in_parts}4 images each, but for backbone, pyramid, whose own stay as they are.'
  with build.run(tiny.config(tmp_path, accumulation_steps=2), tmp_path / 'run') as run:
    assert run.notes == said(accumulation_steps=2)


def test_a_run_of_ones_own_is_made_of_it(tmp_path):
  c = tiny.config(tmp_path, data_errors='skip')
  text = tiny.CONFIG.replace("'bins': (1, 2),", "'name': 'tests.own:AsppNet',").replace(
    "{'name': 'context_scenes', 'size': (33, 49),", "{'name': 'tests.own:Scenes',"
  )
  text = text.replace(
    'return c',
    """c.loss = {'name': 'tests.own:Weighted'}
  c.optimizer = {'name': 'tests.own:adam'}
  c.callbacks = ('tests.own:Recording',)
  c.data_errors = 'skip'
  return c""",
  )
  (tmp_path / 'own.py').write_text(text)
  c = build.files.load(str(tmp_path / 'own.py'))
  with build.run(c, tmp_path / 'run') as run:
    assert run.network.model is own.AsppNet
    assert isinstance(run.source._source, own.Scenes)
    assert isinstance(run.callbacks[0], own.Recording)
    assert run.log_also.keys() == {'learning_rate', 'train/skipped_examples'}
    assert isinstance(run.state.opt_state[0], optax.ScaleByAdamState)
  # Made again, nothing is said to have changed.
  assert build.files.keep_config(c, tmp_path / 'run') == []
  c.loss.weight = 3.0
  assert build.files.keep_config(c, tmp_path / 'run') == ['loss.weight: 2.0 → 3.0']


def test_data_come_first(tmp_path):
  """Most mistakes are there; nothing is written before."""
  c = tiny.config(tmp_path)
  c.data.name = 'nothing'
  with pytest.raises(UserError, match="unknown data source 'nothing'"):
    build.run(c, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


def test_processes_that_were_given_different_things_say_which(tmp_path, monkeypatch):
  told = []

  def differing(values):
    told.append(values)
    return [name for name in values if 'length of the training' in name]

  monkeypatch.setattr(parallel, 'differing', differing)
  with pytest.raises(UserError, match=r'^the length of the training data differs between the proc'):
    build.run(tiny.config(tmp_path), tmp_path / 'run')
  assert not (tmp_path / 'run').exists()
  [values] = told
  assert values['config.seed'] == 0 and values['the class_names of the validation data']
  # Where the data lie is each machine's own affair.
  assert not {'config.data', 'config.threads', 'config.init_from'} & values.keys()
  assert not [name for name in values if 'files' in name]


def test_a_config_that_was_removed_is_written_again(tmp_path, caplog):
  c = tiny.config(tmp_path)
  with build.run(c, tmp_path / 'run') as run:
    path = tmp_path / 'run' / 'config.json'
    before = path.read_text()
    run.callbacks[-1].on_save(2)
    assert caplog.messages == []
    path.unlink()
    run.callbacks[-1].on_save(4)
    assert path.read_text() == before
    assert caplog.messages == [f'{path} was removed: it is written again.']


def other_classes(split):
  """Has other classes for validation than for training."""
  return own.Scenes(split) if split == 'train' else own.Keyed(split)


def test_splits_of_other_classes_are_refused(tmp_path):
  c = tiny.config(tmp_path)
  splits = {'train': {'split': 'train'}, 'val': {'split': 'val'}}
  c.data = {'name': f'{__name__}:other_classes', **splits}
  with pytest.raises(
    UserError, match=r'split has the classes sky, .*, and val road, tree: give bo'
  ):
    build.run(c, tmp_path / 'run')


def test_it_begins_with_weights_from_elsewhere_or_where_it_was(tmp_path):
  with build.run(tiny.config(tmp_path), tmp_path / 'one') as run:
    state = jax.tree.map(lambda x: x + 1, run.state)
    run.checkpoints.save(1, state.items(), run.card)
    run.checkpoints.wait()
    params = jax.tree.map(np.asarray, state.params)
  with build.run(tiny.config(tmp_path, init_from=str(tmp_path / 'one')), tmp_path / 'two') as run:
    assert (run.start_step, run.notes) == (0, [f'Starting from {tmp_path / "one"}.'])
    jax.tree.map(np.testing.assert_array_equal, run.state.params, params)
    assert not np.any(jax.tree.leaves(run.state.opt_state)[0])
  c = tiny.config(tmp_path, init_from=str(tmp_path / 'two'), aux_weight=0.1)
  with build.run(c, tmp_path / 'one') as run:  # its own checkpoint goes first
    assert run.start_step == int(run.state.step) == 1
    assert run.notes[0] == 'Going on from step 1.' and '  aux_weight: 0.4 → 0.1' in run.notes
    jax.tree.map(np.testing.assert_array_equal, run.state.params, params)
    assert np.any(jax.tree.leaves(run.state.opt_state)[0])


@pytest.mark.parametrize('changes', [{'accumulation_steps': 4}, {'batch_size': 1}])
def test_one_image_in_a_part_is_refused_before_anything_is_written(tmp_path, changes):
  says = r'^pyramid/reductions/0/bn .*raise batch_size, or lower accumulation_steps .* model.bins, '
  with pytest.raises(UserError, match=says):
    build.run(tiny.config(tmp_path, **{'batch_size': 4, **changes}), tmp_path / 'run')
  assert not (tmp_path / 'run').exists()
  fixed = {'model__fixed_batch_stats': ('pyramid',)}
  with build.run(tiny.config(tmp_path, **{'batch_size': 4, **changes, **fixed}), tmp_path / 'run'):
    pass


@pytest.mark.parametrize('parts', [2, 1])
def test_two_images_in_a_part_are_enough(tmp_path, parts):
  changes = {'batch_size': 2 * parts, 'accumulation_steps': parts}
  with build.run(tiny.config(tmp_path, **changes), tmp_path / 'run') as run:
    assert run.start_step == 0


def folder_data(root, lines, values=(0, 1)):
  """A folder data set of one image a split, whose class file has these lines."""
  label = np.resize(values, (40, 40))
  for split in ('train', 'val'):
    for kind, x in (('images', np.zeros((40, 40, 3))), ('labels', label)):
      (root / kind / split).mkdir(parents=True, exist_ok=True)
      Image.fromarray(x.astype(np.uint8)).save(root / kind / split / 'a.png')
  (root / 'classes.txt').write_text(''.join(f'{line}\n' for line in lines))


def on_folder(tmp_path, **changes):
  c = tiny.config(tmp_path, batch_size=2, **changes)
  c.data = {'name': 'folder', 'root': str(tmp_path), 'train': {'split': 'train'}}
  c.data.val = {'split': 'val'}
  return c


def test_lines_swapped_in_the_class_file_end_a_run_that_would_go_on(tmp_path):
  folder_data(tmp_path, ('road', 'sky', 'tree'))
  with build.run(on_folder(tmp_path), tmp_path / 'run') as run:
    run.checkpoints.save(1, dataclasses.replace(run.state, step=1).items(), run.card)
    run.checkpoints.wait()
  with build.run(on_folder(tmp_path), tmp_path / 'run') as run:
    assert run.start_step == 1
  folder_data(tmp_path, ('sky', 'road', 'tree'))
  with pytest.raises(UserError, match=r'3 classes road, sky, tree, and .* the 3 sky, road, tree: '):
    build.run(on_folder(tmp_path), tmp_path / 'run')


def test_a_validation_split_without_a_labelled_pixel_is_refused(tmp_path):
  folder_data(tmp_path, ('road', 'sky', 'tree'), values=(255,))
  with pytest.raises(UserError, match='no pixel of the 1 labels to evaluate has a class'):
    build.run(on_folder(tmp_path), tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


def test_an_average_that_is_asked_for_later_begins_at_the_parameters(tmp_path):
  with build.run(tiny.config(tmp_path), tmp_path / 'run') as run:
    run.checkpoints.save(1, run.state.items(), run.card)
    run.checkpoints.wait()
  with build.run(tiny.config(tmp_path, ema_decay=0.9), tmp_path / 'run') as run:
    jax.tree.map(np.testing.assert_array_equal, run.state.ema_params, run.state.params)
    assert run.notes[0] == 'The moving average begins at the parameters of step 1.'
    name = 'bottleneck/kernel'  # the step gives each buffer away once
    average, params = (x[name] for x in (run.state.ema_params, run.state.params))
    assert average.unsafe_buffer_pointer() != params.unsafe_buffer_pointer()
