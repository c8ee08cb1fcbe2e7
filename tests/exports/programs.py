"""Programs of small networks, for the tests of every format."""

import jax
import numpy as np

from pspnet_jax.data.spec import DatasetSpec, default_palette
from pspnet_jax.exports.program import Program
from pspnet_jax.inference.card import Card
from pspnet_jax.models.network import Network
from tests.conftest import COMPILE_FAST, TINY
from tests.torch_pspnet import random_arrays

CLASSES = 5
NAMES = tuple(f'thing {i}' for i in range(CLASSES))


def program(size=(41, 57), *, probabilities=True, model=None, mean=(120.0, 90.0, 60.0), **options):
  """A program of random weights, none of which is trivial."""
  network = {'num_classes': CLASSES, **TINY, **options}
  if model is not None:
    network['name'] = f'{model.__module__}:{model.__name__}'
  spec = DatasetSpec(NAMES, default_palette(CLASSES))
  # The deviations are large, so that probabilities are near no limit.
  card = Card(network=network, spec=spec, crop_size=(41, 57), mean=mean, std=(80.0, 90.0, 100.0))
  built: Network = card.build_network(model)
  arrays = random_arrays(built.param_shapes, 0), random_arrays(built.batch_stat_shapes, 1)
  return Program(card, built, *arrays, step=7, size=size, probabilities=probabilities)


def live(made: Program):
  """What `Program.live` makes, compiled in a sixth of the time."""
  run, weights = made.function()
  jitted = jax.jit(run, compiler_options=COMPILE_FAST)
  return lambda image: jax.tree.map(np.asarray, jitted(weights, image))


def images(size, count=2, seed=3) -> np.ndarray:
  return np.random.default_rng(seed).integers(0, 256, (count, *size, 3)).astype(np.uint8)
