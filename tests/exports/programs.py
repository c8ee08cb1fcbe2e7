"""Programs of small networks, for the tests of every format."""

import numpy as np
import torch

from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.exports.program import Program
from pspnet_jax.inference.card import Card
from pspnet_jax.models.network import Network
from tests import torch_pspnet
from tests.conftest import TINY

CLASSES = 5
NAMES = tuple(f'thing {i}' for i in range(CLASSES))


def program(size=(41, 57), *, probabilities=True, model=None, mean=(120.0, 90.0, 60.0), **options):
  """A program of random weights, none of which is trivial."""
  network = {'num_classes': CLASSES, **TINY, **options}
  count = network['num_classes']
  names = tuple(f'thing {i}' for i in range(count))
  if model is not None:
    network['name'] = f'{model.__module__}:{model.__name__}'
  spec = DatasetSpec(names, default_palette(count))
  # The deviations are large, so that probabilities are near no limit.
  card = Card(network=network, spec=spec, crop_size=(41, 57), mean=mean, std=(80.0, 90.0, 100.0))
  built: Network = card.build_network(model)
  arrays = (
    torch_pspnet.random_arrays(built.param_shapes, 0),
    torch_pspnet.random_arrays(built.batch_stat_shapes, 1),
  )
  return Program(card, built, *arrays, origin='step 7', size=size, probabilities=probabilities)


def reference(made: Program):
  """The same network in PyTorch, which is not compiled: what `Program.live` answers."""
  options = {k: v for k, v in made.network.options.items() if k not in ('num_classes', 'dtype')}
  model = torch_pspnet.TorchPSPNet(CLASSES, **options)
  torch_pspnet.load(model, made.params, made.batch_stats).eval()
  mean, std = (np.asarray(x, np.float32) for x in (made.card.mean, made.card.std))

  def run(image):
    with torch.no_grad():
      logits = model(torch_pspnet.nchw((image - mean) / std))['logits']
    scores = torch_pspnet.nhwc(logits.softmax(1))
    return {'labels': scores.argmax(-1).astype(np.uint8), 'probabilities': scores}

  return run


def images(size, count=2, seed=3) -> np.ndarray:
  return np.random.default_rng(seed).integers(0, 256, (count, *size, 3)).astype(np.uint8)
