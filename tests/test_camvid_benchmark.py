"""The trainings beside PyTorch's, at sizes of seconds on fabricated frames."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from benchmarks import camvid, sides
from pspnet_jax.config import parts
from pspnet_jax.data.loader import train_batches
from tests import torch_pspnet

pytestmark = pytest.mark.usefixtures('one_device')


@pytest.fixture
def frames(tmp_path):
  """A folder of CamVid's layout and classes: stripes in the colours of their ids."""
  rng = np.random.default_rng(0)
  for split, count in (('train', 5), ('val', 2)):
    for kind in ('images', 'labels'):
      (tmp_path / 'data' / kind / split).mkdir(parents=True)
    for i in range(count):
      label = np.arange(80)[None] * 12 // 80 + np.zeros((60, 1), int)
      image = rng.integers(0, 40, (60, 80, 3)) + 18 * label[..., None]
      for kind, array in (('images', image), ('labels', label)):
        Image.fromarray(array.astype(np.uint8)).save(tmp_path / 'data' / kind / split / f'{i}.png')
  return tmp_path / 'data'


def both_steps(config, steps, dtype='float32'):
  """The losses of both sides, their weights afterwards, and those that both began with."""
  config.model.dropout_rate, config.threads = 0.0, 1
  source = parts.open_split(config, 'train')
  card = parts.make_card(config, source.spec)
  weights = jax.tree.map(lambda x: x.astype(dtype), sides.first_weights(config, card))
  transform = parts.make_transform(config, source.spec.num_classes)
  stream = train_batches(source, transform=transform, batch_size=2, seed=3, threads=0)
  batches = [next(stream) for _ in range(steps)]
  theirs = sides.Theirs(config, card, weights, channels_last=True)  # in the weights' dtype
  torch_pspnet.keep_biased_variance(theirs._model)
  config.model.dtype = dtype
  ours = sides.Ours(config, parts.make_card(config, source.spec), weights, batches[0])
  for batch in batches:
    ours.step(batch)
    theirs.step(batch)
  first, second = ours.losses(), theirs.losses()
  assert len(first) == steps and ours.losses() == []
  return (first, second), (ours.weights(), theirs.weights()), weights


def apart(pair, begun):
  """Measures how far apart the parameters and the statistics are, for how far they moved."""
  found = []
  for mine, other, first in zip(*pair, begun, strict=True):
    assert mine.keys() == other.keys()
    moved = np.concatenate([np.ravel(mine[k] - first[k]) for k in mine])
    off = np.concatenate([np.ravel(mine[k] - other[k]) for k in mine])
    found.append(np.linalg.norm(off) / np.linalg.norm(moved))
  return max(found)


def test_both_take_the_same_steps(frames):
  losses, weights, begun = both_steps(camvid.make_config(frames, 'pyramid', 3, 2, True), 2)
  # Two images and 1×1 bins: batch normalisation of two values amplifies the rounding of float32.
  np.testing.assert_allclose(*losses, rtol=1e-3)
  assert apart(weights, begun) < 0.05


@pytest.mark.parametrize('variant', camvid.VARIANTS)
def test_in_float64_both_take_the_same_steps_from_the_first_to_the_last(frames, variant, x64):
  """In float32 they differ by rounding, dropout's draws and torch's unbiased running variance."""
  config = camvid.make_config(frames, variant, 3, 8, True)
  # What both take in float32, they take exactly: normalised images, and Optax's learning rates.
  config.mean, config.std = (0.0,) * 3, (1.0,) * 3
  config.optimizer.base_lr, config.optimizer.power = 2.0**-4, 1.0
  losses, weights, begun = both_steps(config, 8, 'float64')
  np.testing.assert_allclose(*losses, rtol=1e-11)
  assert apart(weights, begun) < 1e-10


def test_what_the_peer_does_not_do_is_refused(frames):
  config = camvid.make_config(frames, 'pyramid', 0, None, miniature=True)
  sides.check(config)
  for key, value in {'loss.dice': 1.0, 'model.stride_in_1x1': True, 'ema_decay': 0.9}.items():
    other = config.copy_and_resolve_references()
    other.update_from_flattened_dict({key: value})
    with pytest.raises(ValueError, match=f'{key} is {value}: the peer knows'):
      sides.check(other)


def test_what_was_measured_is_kept(frames, tmp_path, monkeypatch, capsys):
  output = tmp_path / 'out'
  given = [f'--data={frames}', f'--output={output}', '--miniature', '--steps=3', '--seeds=1']
  camvid.main([*given, '--variants=no pyramid'])
  found = json.loads((output / 'no_pyramid_1.json').read_text())
  assert found['epoch_steps'] == 2 and set(found['sides']) == {'pspnet_jax', 'PyTorch'}
  for side in found['sides'].values():
    assert len(side['loss']) == 2 and len(side['seconds']) == 1  # a whole epoch and a part
    assert 0 <= side['miou'] <= 1 and len(side['iou']) == 11
  camvid.main([*given, '--variants=no pyramid', '--dropout_seed=7'])
  assert ', dropout drawn anew (7), PyTorch' in (output / 'camvid.md').read_text()
  other = json.loads((output / 'no_pyramid_1_7.json').read_text())
  assert other['question'].pop('dropout_seed') == 7 and other['question'] == found['question']
  for name, side in found['sides'].items():
    assert other['sides'][name]['loss'] != side['loss']
  calls = []

  def counted(config, **_):
    calls.append((config.seed, config.model.bins))
    return {name: found[name] for name in ('epoch_steps', 'sides')}

  monkeypatch.setattr(camvid, 'pair', counted)
  camvid.main(given)
  assert calls == [(1, (1, 2, 3, 6))]  # only what was missing
  camvid.main([*given, '--steps=4'])
  assert len(calls) == 3  # of another length: all anew
  values = json.loads((output / 'camvid.json').read_text())['summary']
  assert values['pyramid']['PyTorch']['seeds'] == 1
  printed = capsys.readouterr().out
  assert (output / 'camvid.md').read_text() in printed and '| no pyramid | 1 | ' in printed
  with pytest.raises(SystemExit):
    camvid.main([*given, '--variants=square'])
