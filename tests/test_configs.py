"""The configs that come with the package: every row loads, builds, steps and stands in its page."""

import csv
import functools
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import figures
from benchmarks import rows as page_writer
from pspnet_jax.config import checks, files, parts, python_file, shipped
from pspnet_jax.data.scenes import ContextScenes
from pspnet_jax.errors import UserError
from pspnet_jax.models.network import Network
from pspnet_jax.training.state import TrainState
from pspnet_jax.weights import catalogue
from tests import tiny

ROWS = {name: python_file.rows(name) for name in shipped.names()}
EVERY = [
  f'{name}:{row}' if row else name
  for name, rows in ROWS.items()
  for row in [row for row, of_row in rows.items() if 'ensemble' not in of_row] or ['']
]
SCENES = ContextScenes('train', (40, 48), length=4)


@functools.cache
def config_of(name):
  return files.load(name)


def loaded(name):
  return config_of(name).copy_and_resolve_references()


def of_network(c):
  """The options of a config's network, without its name."""
  return {key: value for key, value in c.model.to_dict().items() if key != 'name'}


def structure(c):
  """What decides which program a step is, without the sizes and numbers that change little."""
  numbers = ('base_lr', 'min_lr', 'weight_decay', 'head_multiplier')
  optimizer = {k: v for k, v in c.optimizer.to_dict().items() if k not in numbers}
  sizes = {'depth': 0, 'width': 0, 'head_channels': 0, 'aux_channels': 0}
  stem = {'stem_channels': len(c.model.stem_channels)}
  return {**of_network(c), **sizes, **stem, **optimizer, **c.loss.to_dict()}


def distinct(key):
  """The first config of each kind, by its name."""
  found = {}
  for name in EVERY:
    found.setdefault(json.dumps(key(config_of(name)), sort_keys=True), name)
  return list(found.values())


def few_with_all(key):
  """So few configs that every value of every key is in one of them, the most varied first."""
  values = {name: {*map(str, key(config_of(name)).items())} for name in distinct(key)}
  found, seen = [], set()
  while seen != set().union(*values.values()):
    found.append(max(values, key=lambda name: len(values[name] - seen)))
    seen |= values[found[-1]]
  return found


@pytest.mark.parametrize('name', EVERY)
def test_every_row_is_sound(name):
  c = loaded(name)
  checks.check_values(c)
  checks.check_training(c)
  assert parts.make_augment(c).crop_size == tuple(c.crop_size)
  parts.make_optimizer(c, {'backbone/stem/convs/0/conv/kernel': None, 'classifier/bias': None})


@pytest.mark.parametrize('name', shipped.names())
def test_a_file_says_how_it_is_run(name):
  text = (tiny.ROOT / 'configs' / f'{name}.py').read_text()
  assert re.search(rf'--config={name}\b', text)
  commands = re.findall(rf'--config={name}:([\w.-]+)', text)
  assert {row.rstrip('.') for row in commands} <= {*ROWS[name], 'prepared'}


@pytest.mark.parametrize('name', distinct(lambda c: c.data.to_dict()))
def test_data_that_are_not_prepared_are_named_with_the_command(name, tmp_path):
  c = loaded(name)
  if 'data_dir' not in c.data:
    pytest.skip('its data are not prepared')
  c.data.data_dir = str(tmp_path)
  for split in ('train', 'val'):
    with pytest.raises(UserError, match=rf'pspnet prepare --dataset=\w+ --data_dir={tmp_path}'):
      parts.open_split(c, split)


def outputs(network, crop_size):
  """The shapes of what it gives in training."""
  image = jax.ShapeDtypeStruct((2, *crop_size, 3), jnp.float32)

  def apply(params, batch_stats, image):
    key = jax.random.key(0)
    return network.apply(params, batch_stats, image, train=True, key=key, upsample=False)[0]

  given = jax.eval_shape(apply, network.param_shapes, network.batch_stat_shapes, image)
  return {name: x.shape for name, x in given.items()}


CALLED = few_with_all(lambda c: {**of_network(c), 'depth': 0})


@pytest.mark.parametrize('name', distinct(of_network))
def test_networks_are_built_at_full_size(name):
  c = loaded(name)
  network = Network(21, **of_network(c))
  aux = [path for path in network.param_shapes if path.startswith('aux_head')]
  assert bool(aux) == c.model.aux_head
  assert network.param_shapes['classifier/conv/bias'].shape == (21,)
  if name in CALLED:  # which takes as long as to build it
    # Stage 3 has the stride of stage 4 where dilation took its place, else half of it.
    strides = {'logits': c.model.output_stride, 'aux_logits': min(c.model.output_stride, 16)}
    wanted = {
      head: (2, *(-(-side // stride) for side in c.crop_size), 21)
      for head, stride in strides.items()
      if head == 'logits' or aux
    }
    assert outputs(network, c.crop_size) == wanted


@functools.cache
def batch_of(name):
  """Two scenes as the config augments them, at a few pixels."""
  c = config_of(name).copy_and_resolve_references()
  c.crop_size = (41, 49)
  transform = parts.make_transform(c, SCENES.spec.num_classes)
  examples = [transform(SCENES[i], np.random.default_rng(i)) for i in range(2)]
  return {key: np.stack([example[key] for example in examples]) for key in ('image', 'label')}


@pytest.mark.parametrize('name', distinct(lambda c: {**c.augment.to_dict(), 'mean': c.mean}))
def test_every_augmentation_makes_a_batch(name):
  batch = batch_of(name)
  assert batch['image'].shape == (2, 41, 49, 3) and batch['label'].shape == (2, 41, 49)
  assert batch['image'].dtype == batch['label'].dtype == np.uint8
  assert (batch['label'] != 255).any()


@pytest.mark.parametrize('name', few_with_all(structure))
def test_one_step_at_miniature_size(name):
  c = loaded(name)
  stem = (4, 4, 8) if len(c.model.stem_channels) == 3 else (8,)
  c.model.update(depth=10, width=4, stem_channels=stem, head_channels=8, aux_channels=8)
  c.crop_size, c.batch_size = (41, 49), 2
  network = parts.make_network(c, parts.make_card(c, SCENES.spec))
  _, tx = parts.make_optimizer(c, network.param_shapes)
  step = jax.jit(parts.make_step(c, network, tx))
  state = TrainState.create(network, tx, seed=0, ema_decay=0.0)
  after, measured = step(state, batch_of(name))
  loss = float(measured['loss'].compute())
  assert 0 < loss < 20
  for path, value in after.params.items():
    assert np.isfinite(value).all() and not np.array_equal(value, state.params[path]), path


def test_where_validation_images_are_trained_on_they_choose_no_step():
  seen = {name for name in EVERY if parts.seen_in_training(config_of(name), config_of(name))}
  assert seen == {
    *('ade20k_paper:table5-101', 'ade20k_paper:table5-152', 'voc2012_paper:table6-coco-voc')
  }
  assert {config_of(name).eval_every for name in seen} == {0}


def zoo():
  with (tiny.ROOT / 'pspnet_jax' / 'weights' / 'catalogue.csv').open() as file:
    return {row['name']: row for row in csv.DictReader(file)}


CHECKPOINTS = {
  of_row['checkpoint']: f'{name}:{row}'
  for name, rows in ROWS.items()
  for row, of_row in rows.items()
  if 'checkpoint' in of_row
}


def test_every_mmsegmentation_checkpoint_has_its_training():
  theirs = {name for name, entry in zoo().items() if entry['source'] == 'mmseg'}
  assert len(theirs) == 54 and theirs <= CHECKPOINTS.keys()
  for checkpoint in theirs:
    c, entry = python_file.call(CHECKPOINTS[checkpoint])[0], zoo()[checkpoint]
    assert 'x'.join(map(str, c.eval.base_size)) == entry['test_scale']
    assert (c.eval.protocol == 'mmseg_slide') == bool(entry['window'])
    assert c.total_steps == 1000 * int(re.search(r'(\d+)k_', checkpoint)[1])


@pytest.mark.parametrize('checkpoint', [name for name in CHECKPOINTS if name in zoo()])
def test_a_checkpoint_of_the_zoo_is_of_the_network_of_its_row(checkpoint):
  name, _, row = CHECKPOINTS[checkpoint].partition(':')
  of_row, c, entry = ROWS[name][row], loaded(f'{name}:{row}'), zoo()[checkpoint]
  published = [entry['score'], entry['score_ms']]
  assert [of_row.get(k, [''])[0] for k in ('ss', 'ms')] == [x and float(x) for x in published]
  assert (c.data.name, c.model.depth) == (entry['data'], int(entry['depth']))
  assert '-'.join(map(str, c.model.stem_channels)) == entry['stem']
  assert c.model.output_stride == int(entry['output_stride'])
  assert str(c.model.align_corners).lower() == entry['align_corners']
  assert 'x'.join(map(str, c.crop_size)) == entry['crop_size']


def test_weights_that_configs_start_from_can_be_had():
  for name in EVERY:
    start = config_of(name).init_from
    if start is not None:
      before = ROWS[name.partition(':')[0]].get(start)
      assert before is not None or catalogue.find(start).is_backbone


def test_what_cannot_be_reached_starts_from_nothing():
  for name in page_writer.names():  # all but the rows on generated scenes
    for row, of_row in ROWS[name].items():
      if 'ensemble' not in of_row:
        starts = 'init_from' in python_file.call(f'{name}:{row}')[0]
        assert starts != ('unreachable' in of_row), f'{name}:{row}'


def test_the_page_of_rows_is_up_to_date():
  assert {name for name, of_name in ROWS.items() if of_name} == {
    *page_writer.names(),
    'context_ablations',
  }
  assert page_writer.page() == page_writer.PAGE.read_text(), 'run python -m benchmarks.rows'


def test_measured_figures_stand_beside_the_published_ones(tmp_path, monkeypatch):
  seeds = {str(i): {'mIoU': 41 + i / 10} for i in range(3)}
  machine = {'jax': '1', 'cores': 2, 'processor': 'a chip'}
  found = {'seeds': seeds, 'day': '2026-01-01', 'machine': machine}
  monkeypatch.setattr(figures, 'FILE', tmp_path / 'figures.json')
  figures.FILE.write_text(json.dumps({'ade20k_mmseg:r50-80k': found, 'camvid': found}))
  page = page_writer.page()
  assert '| ss 41.13 · ms 41.94 | **41.1 (41.0–41.2)** |' in page
  assert '| `camvid` | 41.1 (41.0–41.2) | 0, 1, 2 | 2026-01-01 | jax 1, 2 cores of a chip |' in page
  assert '1 are measured' in page
