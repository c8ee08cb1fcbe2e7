"""Each group of a config becomes the object it describes, or is refused in a sentence."""

import json

import numpy as np
import optax
import pytest
from PIL import Image

from pspnet_jax.config import files, parts
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.training.callbacks import EarlyStopping
from tests import own, planted, tiny

SPEC = DatasetSpec(own.NAMES, own.COLOURS)


def config(tmp_path, **groups):
  """The tiny config with groups of one's own: `model={'name': ...}`."""
  text = tiny.CONFIG.replace('return c', f'c.update({groups!r})\n  return c')
  if 'model' in groups:
    text = text.replace("'bins': (1, 2),", '')  # which the networks in `own` give themselves
  (tmp_path / 'c.py').write_text(text)
  return files.load(str(tmp_path / 'c.py'))


def refused(tmp_path, says, make, **groups):
  with pytest.raises(UserError, match=says) as caught:
    make(config(tmp_path, **groups))
  assert '\n' not in str(caught.value)


# --- the network and its card


def test_the_card_of_a_pspnet_holds_every_option(tmp_path):
  card = parts.make_card(config(tmp_path), SPEC)
  assert 'name' not in card.network and 'fixed_batch_stats' not in card.network
  assert card.network['num_classes'] == 2 and card.network['stride_in_1x1'] is False
  assert Card.from_json(json.loads(json.dumps(card.to_json()))) == card


def test_the_card_says_how_images_are_held(tmp_path):
  assert parts.make_card(config(tmp_path), SPEC).exif == 'upright'
  assert parts.make_card(config(tmp_path), SPEC, exif='stored').exif == 'stored'


def test_the_card_of_an_own_network_holds_its_own_arguments_and_what_differs(tmp_path):
  c = config(tmp_path, model={'name': 'tests.own:NarrowNet', 'head_channels': 16})
  card = parts.make_card(c, SPEC)
  # depth, stem_channels and aux_channels are those of the tiny config: not the defaults.
  assert card.network == {
    'num_classes': 2,
    'name': 'tests.own:NarrowNet',
    'dtype': 'float32',
    'rates': (1, 2),  # a default, but its own: the file may have another one day
    'width': 4,
    'depth': 10,
    'stem_channels': (4, 4, 8),
    'head_channels': 16,
    'aux_channels': 8,
  }
  assert card.title == 'NarrowNet'


def test_an_own_network_is_made_and_its_answer_looked_at(tmp_path):
  def make(c):
    return parts.make_network(c, parts.make_card(c, SPEC))

  network = make(config(tmp_path, model={'name': 'tests.own:AsppNet', 'style': 'summed'}))
  assert network.model is own.AsppNet and network.options['style'] == 'summed'
  fixed = config(tmp_path, model={'fixed_batch_stats': ('backbone',)})
  assert 'fixed_batch_stats' not in make(fixed).options
  name = {'name': 'tests.own:HeadlessNet'}
  refused(tmp_path, 'HeadlessNet returns a ShapeDtypeStruct|returns a .*: return', make, model=name)
  bad = {'name': 'tests.own:AsppNet', 'style': 'summed', 'bins': (1, 2)}
  refused(tmp_path, "AsppNet cannot be made: .*'bins'", make, model=bad)


@pytest.mark.parametrize(
  ('group', 'name', 'says'),
  [
    ('model', 'tests.own:NeedyNet', 'NeedyNet needs kernel, which has no default'),
    ('model', 'tests.own:Weighted', 'no network: name a class of nnx.Module'),
    ('model', 'resnet', "config.model.name is 'resnet': give pspnet, or package.module:Name"),
    ('loss', 'tests.own:NeedsWeight', 'NeedsWeight needs weight, which has no default'),
    ('optimizer', 'adam', "config.optimizer.name is 'adam': give sgd"),
  ],
)
def test_names_are_looked_at_when_the_config_is_read(tmp_path, group, name, says):
  refused(tmp_path, says, lambda c: None, **{group: {'name': name}})


def test_arguments_of_ones_own_are_settings(tmp_path):
  c = config(tmp_path, model={'name': 'tests.own:AsppNet'}, loss={'name': 'tests.own:Weighted'})
  assert (c.model.rates, c.model.depth, c.loss.to_dict()) == (
    (1, 2, 4),
    10,
    {'name': 'tests.own:Weighted', 'weight': 2.0},
  )
  refused(
    tmp_path,
    "sets the unknown config key 'rate': did you mean .*rates",
    lambda c: None,
    model={'name': 'tests.own:AsppNet', 'rate': 3},
  )
  refused(
    tmp_path,
    'sets loss.weight to .much.: give a number',
    lambda c: None,
    loss={'name': 'tests.own:Weighted', 'weight': 'much'},
  )


# --- optimiser, loss, callbacks


def test_an_own_optimiser_follows_the_schedule(tmp_path):
  params = {'a': np.ones(2, np.float32)}
  options = {'name': 'tests.own:adam', 'b1': 0.5, 'base_lr': 0.1, 'power': 1.0, 'min_lr': 0.0}
  schedule, tx = parts.make_optimizer(config(tmp_path, optimizer=options), params)
  assert float(schedule(3)) == pytest.approx(0.05)  # halfway through six steps
  updates, _ = tx.update({'a': np.ones(2, np.float32)}, tx.init(params), params)
  expected = optax.adam(schedule, b1=0.5)
  wanted, _ = expected.update({'a': np.ones(2, np.float32)}, expected.init(params), params)
  np.testing.assert_array_equal(updates['a'], wanted['a'])


@pytest.mark.parametrize(
  ('name', 'says'),
  [
    ('optax:adamw', r'optax:adamw is called with \(params, schedule\) and .*b2.*: .*b1'),
    ('tests.own:no_optimiser', 'makes a function: give a function of .params, schedule. that'),
    ('tests.own:NAMES', 'name a class or a function'),
  ],
)
def test_what_is_no_optimiser_is_refused(tmp_path, name, says):
  refused(tmp_path, says, lambda c: parts.make_optimizer(c, {}), optimizer={'name': name})


def test_what_is_no_loss_is_refused(tmp_path):
  says = 'tests.own:NoLoss makes a NoLoss, which is no loss: give it the two methods of'
  loss = {'name': 'tests.own:NoLoss'}
  refused(tmp_path, says, lambda c: parts.make_step(c, None, None), loss=loss)


def test_callbacks_are_early_stopping_and_ones_own(tmp_path):
  c = config(tmp_path, early_stopping=7, callbacks=('tests.own:Recording',))
  first, second = parts.make_callbacks(c)
  assert isinstance(first, EarlyStopping) and isinstance(second, own.Recording)
  assert parts.make_callbacks(config(tmp_path)) == []
  for name, says in (
    ('tests.own:NeedsProject', "NeedsProject is called with nothing: missing .* 'project'"),
    ('tests.own:adam', 'name a class derived from Callback'),
    ('tests.own:NoLoss', 'name a class derived from Callback'),
    ('Recording', 'config.callbacks=Recording is no name'),
  ):
    refused(tmp_path, says, parts.make_callbacks, callbacks=(name,))


# --- data


def test_a_split_is_the_data_with_its_own_options_laid_over(tmp_path):
  c = config(
    tmp_path,
    data={'name': 'tests.own:Keyed', 'a': 1, 'b': None, 'size': (3, 4)},
  )
  c.data.train.a = 2
  assert parts.open_split(c, 'train').__dict__['_source'].options == {
    'a': 2,
    'length': 24,
    'size': (3, 4),
  }
  assert parts.open_split(c, 'val').__dict__['_source'].options['a'] == 1


def test_where_files_lie_can_be_set_for_both_splits(tmp_path):
  planted.write_folder(tmp_path, train=4, val=2)
  c = files.load('folder')
  c.data.root = str(tmp_path)
  assert [len(parts.open_split(c, split)) for split in ('train', 'val')] == [4, 2]
  for split in ('train', 'val'):
    names = [path.stem for path in (tmp_path / 'images' / split).iterdir()]
    (tmp_path / f'{split}_ids.txt').write_text('\n'.join(names[:-1]))
  c.data.list_file = '{split}_ids.txt'
  assert [len(parts.open_split(c, split)) for split in ('train', 'val')] == [3, 1]
  one = {'image_folder': 'images/train', 'label_folder': 'labels/train', 'val_share': 0.6}
  c.data.update(list_file=None, **one)
  assert sum(len(parts.open_split(c, split)) for split in ('train', 'val')) == 4


def test_an_empty_split_is_refused(tmp_path):
  def make(c):
    splits = {'train': {'split': 'train'}, 'val': {'split': 'val'}}
    c.data = {'name': 'tests.own:Files', 'root': str(tmp_path), **splits}
    parts.open_split(c, 'train')

  refused(tmp_path, 'the train split of the data has no images', make)


def test_augmentation_takes_its_options_and_refuses_a_crop_below_a_cell(tmp_path):
  augment = parts.make_augment(config(tmp_path, augment={'rotate': (-5, 5)}))
  assert (augment.crop_size, augment.rotate) == ((33, 49), (-5, 5))
  says = r'crop_size \(7, 49\) is smaller than one output cell of 8×8'
  refused(tmp_path, says, parts.make_augment, crop_size=(7, 49))
  # A network of one's own may have no output stride.
  c = config(tmp_path, crop_size=(7, 49))
  del c.model.output_stride
  assert parts.make_augment(c).crop_size == (7, 49)


def test_rare_classes_are_counted_once_and_kept(tmp_path, capsys):
  c = config(tmp_path, sampling={'rare_class_temperature': 0.1, 'rare_class_pixels': 5})
  source = parts.open_split(c, 'train')

  def counted():
    choice = parts.make_choice(c, source, tmp_path)
    np.testing.assert_array_equal(choice.probabilities, first.probabilities)
    return 'Counting the classes of 24 labels' in capsys.readouterr().out

  first = parts.make_choice(c, source, tmp_path)
  assert np.load(tmp_path / 'class_pixels.npz')['pixels'].shape == (24, 11)
  capsys.readouterr()
  assert not counted()
  (tmp_path / 'class_pixels.npz').write_bytes(b'damaged')
  assert counted() and not counted()
  c.data_errors = 'skip'  # what cannot be used would have counted as nothing
  assert counted() and not counted()
  assert parts.make_choice(config(tmp_path), source, tmp_path) is None


def test_rare_classes_are_counted_anew_when_labels_change(tmp_path):
  planted.write_folder(tmp_path / 'data')
  c = config(tmp_path, sampling={'rare_class_temperature': 0.1, 'rare_class_pixels': 5})
  splits = {'train': {'split': 'train'}, 'val': {'split': 'val'}}
  c.data = {'name': 'folder', 'root': str(tmp_path / 'data'), **splits}
  source = parts.open_split(c, 'train')
  before = parts.make_choice(c, source, tmp_path).probabilities
  for i in range(len(source)):  # as many files of the same sizes, of other classes
    path = source.files(i)[1]
    label = np.asarray(Image.open(path))
    Image.fromarray(np.where(label == 1, 0, label).astype(np.uint8)).save(path)
  after = parts.make_choice(c, source, tmp_path).probabilities
  assert before[1] > 0 == after[1]
