"""What an evaluation counted before goes on counting only for the same weights and images.

`test_train.py` evaluates the run that it trains.
"""

import numpy as np
import pytest
from PIL import Image

from pspnet_jax.config import parts
from pspnet_jax.data.folder import Folder
from pspnet_jax.errors import Stopped, UserError
from pspnet_jax.evaluate import evaluate
from pspnet_jax.evaluation import scoring
from pspnet_jax.inference.engine import Inference
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
    monkeypatch.setattr(Inference, 'prepare', lambda *_: None)
    monkeypatch.setattr(scoring, 'confusion_matrix', self._count_two)

  def train(self, value):
    """Puts a network whose numbers are all `value` there, as step 3."""
    checkpoints = self.workdir / 'checkpoints'
    if checkpoints.exists():
      checkpoints.rename(self.workdir / 'earlier')
    items = {
      name: {key: np.full(x.shape, value, x.dtype) for key, x in shapes.items()}
      for name, shapes in (
        ('params', self.network.param_shapes),
        ('batch_stats', self.network.batch_stat_shapes),
      )
    }
    with Checkpoints(self.workdir) as checkpoints:
      checkpoints.save(3, items, self.card, 0.5)

  def _count_two(self, *_, partial, **__):
    self.before = partial.done
    partial.done = 2
    partial.save()
    raise Stopped('stopped')

  def counted_before(self):
    with pytest.raises(Stopped, match='stopped after 2 of 4 images'):
      evaluate(self.config, self.workdir)
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
  with pytest.raises(UserError, match=r'the network knows the 4 classes sky, road.*road, sky'):
    evaluate(setting.config, setting.workdir)
