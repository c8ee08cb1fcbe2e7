"""What an evaluation counted before goes on counting only for the same weights and images.

`test_train.py` evaluates the run that it trains.
"""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

import pspnet_jax
from pspnet_jax.config import files, parts
from pspnet_jax.data.folder import Folder
from pspnet_jax.data.known_classes import numbered_classes
from pspnet_jax.data.prepared import SPLITS
from pspnet_jax.errors import Stopped, UserError
from pspnet_jax.evaluate import evaluate
from pspnet_jax.evaluation import scoring
from pspnet_jax.inference.engine import Inference
from pspnet_jax.inference.protocol import SEMSEG
from pspnet_jax.runtime.folder_lock import FolderLock
from pspnet_jax.weights.checkpoints import Checkpoints
from tests import planted, tiny

pytestmark = pytest.mark.usefixtures('one_device')


class Setting:
  """A workdir with an untrained network, a folder of images, and an evaluation that counts two."""

  def __init__(self, folder, monkeypatch):
    planted.write_folder(folder / 'data', val=4)
    self.workdir, self.config = folder / 'run', tiny.config(folder)
    splits = {'train': {'split': 'train'}, 'val': {'split': 'val'}}
    self.config.data = {'name': 'folder', 'root': str(folder / 'data'), **splits}
    self.card = parts.make_card(self.config, Folder(str(folder / 'data')).spec)
    self.network = self.card.build_network()
    self.train(1.0)
    self.other = folder / 'other'
    monkeypatch.setattr(Inference, 'prepare', lambda *_: None)
    monkeypatch.setattr(scoring, 'confusion_matrix', self._count_two)

  def train(self, value, workdir=None, **changes):
    """Puts a network whose numbers are all `value` there, as step 3."""
    workdir = workdir or self.workdir
    checkpoints = workdir / 'checkpoints'
    if checkpoints.exists():
      checkpoints.rename(workdir / f'before {len(list(workdir.iterdir()))}')
    items = {
      name: {key: np.full(x.shape, value, x.dtype) for key, x in shapes.items()}
      for name, shapes in (
        ('params', self.network.param_shapes),
        ('batch_stats', self.network.batch_stat_shapes),
      )
    }
    with Checkpoints(workdir) as checkpoints:
      checkpoints.save(3, items, dataclasses.replace(self.card, **changes), 0.5)

  def _count_two(self, *_, partial, **__):
    self.before = partial.done
    partial.done = 2
    partial.save()
    raise Stopped('stopped')

  def counted_before(self, *workdirs, output=None):
    with pytest.raises(Stopped, match='stopped after 2 of 4 images'):
      evaluate(self.config, workdirs or self.workdir, output=output)
    return self.before

  @property
  def label(self):
    return Folder(self.config.data.root, 'val').files(0)[1]


@pytest.fixture
def setting(tmp_path, monkeypatch):
  return Setting(tmp_path, monkeypatch)


def test_counts_go_on_for_the_same_weights_and_images_only(setting):
  assert setting.counted_before() == 0
  setting.config.eval.flip = True  # bears on training's evaluations, not on this one
  assert setting.counted_before() == 2
  setting.train(2.0)  # the run repeated, to the same step
  assert setting.counted_before() == 0
  label = np.asarray(Image.open(setting.label))
  Image.fromarray(np.roll(label, 1, 1)).save(setting.label)  # as many images, one of them mended
  assert setting.counted_before() == 0
  (setting.workdir / 'evaluation' / 'unfinished.npz').write_bytes(b'PK')
  assert setting.counted_before() == 0


def test_two_evaluations_do_not_write_at_once(setting):
  with (
    FolderLock(setting.workdir / 'evaluation', ''),
    pytest.raises(UserError, match=r'evaluation is in use by this process itself.*: wait for its'),
  ):
    evaluate(setting.config, setting.workdir)


def test_links_in_the_folder_are_not_written_through(setting, tmp_path):
  (tmp_path / 'victim').write_text('precious')
  (setting.workdir / 'evaluation').mkdir()
  (setting.workdir / 'evaluation' / 'scores.json').symlink_to(tmp_path / 'victim')
  with pytest.raises(UserError, match=r'scores\.json is a link, and what it leads to would be'):
    evaluate(setting.config, setting.workdir)


def test_other_classes_are_refused(setting):
  setting.config.data.class_names = ('road', 'sky', 'car', 'tree')
  setting.config.data.ignore_ids = (4,)
  for source in (None, {'name': 'semseg'}):  # or they would be taken for one another
    setting.train(1.0, source=source)
    with pytest.raises(UserError, match=r'the network knows the 4 classes sky, road.*road, sky'):
      evaluate(setting.config, setting.workdir)
  setting.config.data.class_names = ('cow', 'cat', 'dog', 'hen')  # nothing in common
  with pytest.raises(UserError, match=r'sky, road, car, .*data the 4 cow, cat'):
    evaluate(setting.config, setting.workdir)


def test_other_words_for_the_same_classes_are_told(setting, tmp_path, capsys):
  setting.config.data.class_names = ('clouds', 'road', 'car', 'tree')
  setting.config.data.ignore_ids = (4,)
  setting.train(1.0)  # trained here: not by other words
  with pytest.raises(UserError, match='evaluate on data with the same classes'):
    evaluate(setting.config, setting.workdir)
  setting.train(1.0, source={'name': 'semseg'})
  setting.train(2.0, setting.other, source={'name': 'semseg'}, spec=numbered_classes(4))
  setting.counted_before(setting.workdir, setting.other, output=tmp_path / 'out')
  said = ' '.join(capsys.readouterr().out.split())
  assert (
    'and the data call 1 of 4 classes by other words, which are taken to mean the same: 0 (sky, '
    'clouds).'
  ) in said
  assert 'other have no names: they are taken for those of the data, by id.' in said
  assert said.count('by other words') == said.count('have no names') == 1


def test_it_is_told_that_images_were_trained_on(setting, monkeypatch, capsys):
  monkeypatch.setitem(SPLITS, 'folder', {'train': ['f/val', 'f/train'], 'val': ['f/val']})
  told = 'Images of f/val are both trained on and evaluated'
  setting.counted_before()  # its config is not there
  assert told not in capsys.readouterr().out
  files.save(setting.config, setting.workdir / files.SAVED_AS)
  setting.counted_before()
  assert told in ' '.join(capsys.readouterr().out.split())
  (setting.workdir / files.SAVED_AS).write_text('{')
  setting.counted_before()
  assert told not in capsys.readouterr().out


def test_scores_say_how_many_images_were_counted_and_of_what(setting, monkeypatch):
  monkeypatch.setitem(SPLITS, 'folder', {'train': ['f/val', 'f/train'], 'val': ['f/val']})
  files.save(setting.config, setting.workdir / files.SAVED_AS)
  setting.config.pictures = 0

  def count_all_but_one(*_, partial, **__):
    partial.done, partial.left_out = 4, {2}
    return np.eye(4, dtype=np.int64)

  monkeypatch.setattr(scoring, 'confusion_matrix', count_all_but_one)
  evaluate(setting.config, setting.workdir)
  values = json.loads((setting.workdir / 'evaluation' / 'scores.json').read_text())
  assert (values['images'], values['left_out'], values['data']) == (3, 1, 'data')
  assert values['title'].endswith(', 3 images (1 left out as unusable)')
  assert values['notes'][0].startswith('Images of f/val are both trained on and evaluated')


def test_counts_of_several_networks_go_on_for_the_same_ones_only(setting, tmp_path):
  both, output = (setting.workdir, setting.other), tmp_path / 'out'
  setting.train(2.0, setting.other)
  assert setting.counted_before(*both, output=output) == 0
  assert setting.counted_before(*both, output=output) == 2
  assert setting.counted_before(setting.workdir, output=output) == 0  # one of them alone
  assert setting.counted_before(*both, output=output) == 0
  setting.train(3.0, setting.other)
  assert setting.counted_before(*both, output=output) == 0


def test_several_networks_have_a_folder_of_their_own_and_one_convention(setting, tmp_path):
  both = (setting.workdir, setting.other)
  setting.train(2.0, setting.other, protocol=SEMSEG)
  for output, message in {
    None: r'the results of 2 networks have no folder: give --output=DIR\.',
    setting.other / 'evaluation': 'is for the results of one network alone: give another --output',
    tmp_path / 'out': r'count absent classes differently: give --config\.eval\.absent_classes',
  }.items():
    with pytest.raises(UserError, match=message):
      evaluate(setting.config, both, output=output)
  with pytest.raises(UserError, match='no workdir is given'):
    evaluate(setting.config, (), output=tmp_path / 'out')
  assert not (setting.other / 'evaluation').exists()
  with pytest.raises(UserError, match=r'other classes than the data \('):
    evaluate(setting.config, setting.workdir, published='cityscapes_test')


def test_two_networks_are_scored_by_the_mean_of_their_probabilities(tmp_path):
  planted.write_folder(tmp_path / 'data', val=3)
  config = tiny.config(tmp_path, pictures=1)
  splits = {'train': {'split': 'train'}, 'val': {'split': 'val'}}
  config.data = {'name': 'folder', 'root': str(tmp_path / 'data'), **splits}
  source = Folder(str(tmp_path / 'data'), 'val')
  workdirs = [tmp_path / 'a', tmp_path / 'b']
  for seed, workdir in enumerate(workdirs):
    card = dataclasses.replace(parts.make_card(config, source.spec), mean=(99.0 + seed, 99.0, 99.0))
    params, batch_stats = card.build_network().init(seed)
    with Checkpoints(workdir) as checkpoints:
      checkpoints.save(3, {'params': params, 'batch_stats': batch_stats}, card, 0.5)
  scores = evaluate(config, workdirs, output=tmp_path / 'out')
  model = pspnet_jax.load(workdirs)
  assert repr(model).startswith('Predictor(the mean of (PSPNet-10, 4 classes')
  expected = np.zeros((4, 4), np.int64)
  for i in range(3):
    image, label = source[i]['image'], source[i]['label']
    height, width = label.shape
    of_each = zip(model._ensemble.members, model._weights, strict=True)
    each = [next(x.probabilities(own, [(0, image)]))[1] for x, own in of_each]
    mean = np.mean(each, 0)[:height, :width]
    np.testing.assert_allclose(model.probabilities(image), mean, atol=1e-6)
    np.testing.assert_array_equal(model(image), model.probabilities(image).argmax(-1))
    valid = label != 255
    np.add.at(expected, (label[valid], model(image)[valid]), 1)
  np.testing.assert_array_equal(scores.confusion, expected)
  values = json.loads((tmp_path / 'out' / 'scores.json').read_text())
  assert values['title'].startswith(f'the mean of step 3 of {workdirs[0]} and step 3 of')
  assert [x['weights'] for x in values['members']] == [f'step 3 of {x}' for x in workdirs]
  assert not [path for path in workdirs if (path / 'evaluation').exists()]
