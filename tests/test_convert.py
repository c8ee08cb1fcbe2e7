"""The commands convert and export, from a file to a label and back to a file."""

import numpy as np
import pytest
import torch
from PIL import Image

import pspnet_jax
from pspnet_jax.convert import convert
from pspnet_jax.errors import UserError
from pspnet_jax.evaluate import evaluate
from pspnet_jax.export import export
from pspnet_jax.inference.card import Card
from pspnet_jax.predict import predict
from pspnet_jax.weights.checkpoints import Checkpoints
from tests import tiny
from tests.conftest import TINY
from tests.weights import state_dicts
from tests.weights.test_importing import torch_logits

pytestmark = pytest.mark.usefixtures('one_device')


@pytest.fixture
def model():
  return state_dicts.model(**TINY)


@pytest.fixture
def file(model, tmp_path):
  torch.save({'state_dict': model.state_dict()}, tmp_path / 's.pth')
  return tmp_path / 's.pth'


def test_a_converted_file_predicts_and_exports(model, file, tmp_path):
  output = tmp_path / 'converted'
  classes = tmp_path / 'classes.txt'
  classes.write_text('sky\nroad\ncar\ntree\nbus\n')
  result = tiny.run('convert', f'--input={file}', f'--output={output}', f'--class_names={classes}')
  assert result.returncode == 0, result.stderr
  assert 'semseg: PSPNet-10, ' in result.stdout and 'with an auxiliary head' in result.stdout
  assert '5 classes: sky, road, car' in result.stdout and 'align_corners=True' in result.stdout

  image = np.random.default_rng(0).integers(0, 256, (41, 57, 3)).astype(np.uint8)
  Image.fromarray(image).save(tmp_path / 'i.png')
  # One window over the whole image: what torch computes of it.
  predict(output, tmp_path / 'i.png', tmp_path / 'out', protocol='plain', window=(41, 57))
  label = np.asarray(Image.open(tmp_path / 'out' / 'labels' / 'i.png'))
  np.testing.assert_array_equal(label, torch_logits(model, image).argmax(-1))
  assert pspnet_jax.load(output).spec.class_names[2] == 'car'
  assert pspnet_jax.load_pretrained(file).spec.class_names[2] == 'class_2'
  assert pspnet_jax.load_pretrained(output).spec.class_names[2] == 'car'

  for name in ('semseg', 'mmseg'):
    export(output, tmp_path / f'{name}.pth', name)
    convert([tmp_path / f'{name}.pth'], tmp_path / name, align_corners=True)
    assert weights(tmp_path / name) == weights(output)
  written = torch.load(tmp_path / 'semseg.pth', weights_only=True)['state_dict']
  for key, x in model.state_dict().items():
    if not key.endswith('num_batches_tracked'):
      assert torch.equal(written[f'module.{key}'], x), key


def test_evaluation_obeys_the_card(file, tmp_path, capsys):
  convert([file], tmp_path / 'c')
  for kind, shape in (('images', (40, 50, 3)), ('labels', (40, 50))):
    (tmp_path / kind / 'val').mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 5, shape, np.uint8)
    Image.fromarray(pixels).save(tmp_path / kind / 'val' / 'a.png')
  config = tiny.config(tmp_path, model__depth=18, model__align_corners=False)  # of no account
  names = tuple('abcde')  # other words than the card's
  config.data = {'name': 'folder', 'root': str(tmp_path), 'class_names': names}
  config.data.train = config.data.val = {'split': 'val'}
  scores = evaluate(
    config, tmp_path / 'c', changes={'protocol': 'plain', 'window': (41, 57), 'flip': True}
  )
  assert scores.confusion.sum() == 40 * 50
  assert 'windows of 41×57, averaged with the mirror image' in capsys.readouterr().out
  config.data.class_names = names[:4]
  with pytest.raises(UserError, match='the 5 classes class_0'):
    evaluate(config, tmp_path / 'c')


def weights(workdir):
  found = Checkpoints(workdir, read_only=True).load(build=Card.build_network)
  arrays = {**found.params, **found.batch_stats}
  return {name: np.asarray(x).tobytes() for name, x in arrays.items()}


def test_nothing_is_written_over(file, tmp_path):
  convert([file], tmp_path / 'c')
  with pytest.raises(UserError, match='holds checkpoints already'):
    convert([file], tmp_path / 'c')


def test_a_file_that_does_not_convert_leaves_no_folder(tmp_path):
  result = tiny.run('convert', f'--input={tmp_path / "gone.pth"}', f'--output={tmp_path / "c"}')
  assert result.returncode == 1 and not (tmp_path / 'c').exists()
  assert result.stderr.startswith('Error: cannot read') and result.stderr.count('\n') == 1
