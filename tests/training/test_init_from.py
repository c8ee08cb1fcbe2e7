"""Starting from weights, in the training loop and by hand."""

import functools

import numpy as np
import pytest
import torch

from pspnet_jax.config import files
from pspnet_jax.convert import convert
from pspnet_jax.data.known_classes import VOC2012
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.models.network import Network
from pspnet_jax.train import train
from pspnet_jax.training.init_from import start_from
from pspnet_jax.weights.checkpoints import Checkpoints
from pspnet_jax.weights.importing import read_weights
from tests import tiny
from tests.conftest import TINY
from tests.weights import state_dicts


@pytest.fixture
def file(tmp_path):
  """A semseg checkpoint of five classes."""
  torch.save({'state_dict': state_dicts.model(**TINY).state_dict()}, tmp_path / 's.pth')
  return tmp_path / 's.pth'


@functools.cache
def initial(num_classes, options):
  """The initial values of a network, whose options are pairs."""
  return Network(num_classes, **dict(options)).init(0)


def fresh(num_classes, names=None, **changes):
  """Card and initial values of a new network."""
  options = {**TINY, **changes}
  names = names or tuple(map(str, range(num_classes)))
  spec = DatasetSpec(names, ((0, 0, 0),) * num_classes)
  card = Card(network={'num_classes': num_classes, **options}, spec=spec, crop_size=(33, 33))
  return card, *map(dict, initial(num_classes, tuple(options.items())))


def test_every_array_is_taken(file):
  card, params, stats = fresh(state_dicts.CLASSES)
  new_params, new_stats, notes = start_from(str(file), card, params, stats)
  arrays = read_weights([file]).arrays
  assert {**new_params, **new_stats}.keys() == arrays.keys()
  for name, x in {**new_params, **new_stats}.items():
    np.testing.assert_array_equal(x, arrays[name])
  assert notes == [
    f'Starting from {file}.',
    'The names of its classes are not known, and their number is the same: its classifiers were '
    'taken as they are.',
  ]


def test_classifiers_of_other_classes_are_fresh_and_named(file):
  card, params, stats = fresh(3)
  new, _, notes = start_from(str(file), card, params, stats)
  kept = {name for name in params if np.array_equal(params[name], new[name])}
  layers = {'classifier/conv', 'aux_head/classifier/conv'}
  assert {name.rsplit('/', 1)[0] for name in kept} == layers
  assert notes[1] == 'Not taken from there, but fresh: aux_head/classifier/conv, classifier/conv.'


def workdir_of(folder, names, average=None):
  """A workdir of weights whose classes have names; returns its place and parameters."""
  card, params, batch_stats = fresh(len(names), names)
  params = {name: x + 1 for name, x in params.items()}
  items = {'params': params, 'batch_stats': batch_stats}
  if average is not None:
    items['ema_params'] = {name: x + average for name, x in params.items()}
  with Checkpoints(folder) as checkpoints:
    checkpoints.save(1, items, card)
  return str(folder), params


THEIRS = ('road', 'sky', 'traffic light', 'tree', 'car')


@pytest.mark.parametrize(
  ('names', 'order', 'said'),
  [
    (THEIRS, [0, 1, 2, 3, 4], None),
    (('Road', 'sky', 'Traffic_Light', 'tree', 'CAR'), [0, 1, 2, 3, 4], None),
    (
      ('sky', 'road', 'car', 'traffic-light', 'tree'),
      [1, 0, 4, 2, 3],
      'Its classes are road, sky, traffic light, tree, car, and here they are sky, road, car, '
      'traffic-light, tree: its classifiers were put into this order.',
    ),
    (
      ('road', 'sky', 'lamp', 'tree', 'car'),
      None,
      'Its classes are road, sky, traffic light, tree, car, and here they are road, sky, lamp, '
      'tree, car: the classifiers begin anew.',
    ),
    (
      tuple(f'class_{i}' for i in range(5)),
      [0, 1, 2, 3, 4],
      'The names of its classes are not known, and their number is the same: its classifiers were '
      'taken as they are.',
    ),
  ],
)
def test_classifiers_go_by_the_names_of_their_classes(tmp_path, names, order, said):
  location, theirs = workdir_of(tmp_path / 'w', THEIRS)
  card, params, stats = fresh(5, names)
  new, _, notes = start_from(location, card, params, stats)
  for name, x in new.items():
    wanted = theirs[name]
    if 'classifier/' in name:
      wanted = params[name] if order is None else wanted[..., np.array(order)]
    np.testing.assert_array_equal(x, wanted, name)
  assert notes[1:2] == ([said] if said else [])
  fresh_ones = 'Not taken from there, but fresh: aux_head/classifier/conv, classifier/conv.'
  assert (notes[-1] == fresh_ones) == (order is None)


def test_files_are_known_by_the_number_of_their_classes(tmp_path):
  """21 are those of VOC 2012."""
  state = state_dicts.model(21, **TINY).state_dict()
  torch.save({'state_dict': state}, tmp_path / 'voc.pth')
  assert len(start_from(str(tmp_path / 'voc.pth'), *fresh(21, VOC2012.class_names))[2]) == 1
  _, about, which = start_from(str(tmp_path / 'voc.pth'), *fresh(21))[2]
  assert about.startswith('Its classes are background, aeroplane, ') and which.startswith('Not ta')
  assert ', ... (21 in all), and here they are 0, 1, ' in about


def test_the_average_is_what_a_run_starts_from_and_it_says_so(tmp_path):
  location, params = workdir_of(tmp_path / 'w', THEIRS, average=3)
  new, _, notes = start_from(location, *fresh(5, THEIRS))
  np.testing.assert_array_equal(new['bottleneck/kernel'], params['bottleneck/kernel'] + 3)
  assert notes == [f'Starting from {location} (the moving average of the parameters).']


def test_a_backbone_fills_the_backbone(tmp_path):
  state = state_dicts.imagenet(state_dicts.model(**TINY).state_dict(), 'numbered')
  torch.save(state, tmp_path / 'b.pth')
  card, params, stats = fresh(3)
  new, new_stats, notes = start_from(str(tmp_path / 'b.pth'), card, params, stats)
  taken = {n for n in {**params, **stats} if {**new, **new_stats}[n] is not {**params, **stats}[n]}
  assert taken == {name for name in {**params, **stats} if name.startswith('backbone/')}
  assert notes[-1] == 'Not taken from there, but fresh: all but the backbone.'


@pytest.mark.parametrize(('there', 'here'), [(True, False), (False, True), (True, True)])
def test_a_backbone_says_whether_its_shortcuts_pool(there, here, tmp_path):
  state = state_dicts.imagenet(state_dicts.model(**TINY).state_dict(), 'timm')
  if there:
    state = state_dicts.pooled(state)
  torch.save(state, tmp_path / 'b.pth')
  *_, notes = start_from(str(tmp_path / 'b.pth'), *fresh(3, avg_down=here))
  said = f'It was made with avg_down={there}, and here it is {here}.'
  assert (said in notes) == (there != here)


def test_conventions_that_differ_are_said(file):
  _, _, *notes = start_from(str(file), *fresh(state_dicts.CLASSES, align_corners=False))[2]
  assert notes == ['It was made with align_corners=True, and here it is False.']


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'head_channels': 9}, r'bottleneck/bn/bias is \(12,\) there and \(9,\) .*head_channels'),
    ({'aux_head': False}, r'aux_head/\S+ is .* there and absent .*\(aux_head'),
    ({'depth': 18}, r'backbone/\S+ is absent there and .*\(depth, width\)'),
    ({'stem_channels': (8,)}, r'backbone/stem/\S+ is .*\(stem_channels\)'),
  ],
)
def test_anything_else_has_to_match(file, changes, message):
  with pytest.raises(UserError, match=message):
    start_from(str(file), *fresh(state_dicts.CLASSES, **changes))


@pytest.mark.usefixtures('one_device')
@pytest.mark.slow
def test_a_run_starts_from_a_conversion_and_goes_on_from_its_own(file, tmp_path):
  convert([file], tmp_path / 'converted')
  flags = (
    f'--config={tiny.config_file(tmp_path)}',
    '--config.total_steps=1',
    '--config.model.bins=1,2,3,6',
    '--config.model.head_channels=12',
    '--config.model.aux_channels=6',
    '--config.optimizer.base_lr=1e-12',
    '--config.pictures=0',
  )

  def run(workdir, init_from):
    return tiny.run(
      'train', *flags, f'--workdir={tmp_path / workdir}', f'--config.init_from={init_from}'
    )

  first = run('run', tmp_path / 'converted')
  assert first.returncode == 0, first.stderr
  assert 'fresh: aux_head/classifier/conv, classifier/conv.' in first.stdout
  name = 'backbone/stage2/0/conv1/conv/kernel'
  before, after = (weights(tmp_path / folder)[name] for folder in ('converted', 'run'))
  np.testing.assert_allclose(before, after, atol=1e-6)

  config = files.load_saved(tmp_path / 'run' / 'config.json')
  config.init_from = str(tmp_path / 'gone')  # of no interest any more
  train(config, tmp_path / 'run')
  with pytest.raises(UserError, match=r'was trained on the 5 classes .*init_from'):
    train(config, tmp_path / 'converted')


def weights(workdir):
  return Checkpoints(workdir, read_only=True).load(build=Card.build_network).params
