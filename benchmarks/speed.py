"""Training step and inference beside PyTorch's: seconds, images a second, share of the ceiling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import ours, peers, work
from benchmarks.timing import alternate, summary
from pspnet_jax.models.network import Network
from pspnet_jax.planning import useful


def operations(case: work.Case) -> dict[str, int]:
  """FLOPs of a run: 'useful' of the network as published, 'executed' by ours.

  A training step counts as three forward passes: each product has two in its gradient.
  """
  network = Network(case.num_classes, depth=case.depth)
  image = jax.ShapeDtypeStruct((case.batch, case.size, case.size, 3), jnp.float32)
  shapes = network.param_shapes, network.batch_stat_shapes
  key = jax.random.key(0)
  done = useful.of_products(
    lambda p, s, x: network.apply(p, s, x, train=case.train, key=key),
    *shapes,
    image,
    platform=jax.devices()[0].platform,
  )
  return {
    'useful': useful.flops(network, case.batch, (case.size, case.size), train=case.train),
    'executed': 3 * done if case.train else done,
  }


def measure(case: work.Case, ways: Sequence[str], rounds: int, ceiling: float) -> dict[str, Any]:
  """One case: ours and the peers in turn."""
  programs = {'pspnet_jax': ours.program(case)}
  programs |= {f'torch {name}': peers.program(case, name) for name in ways}
  seconds = alternate(programs, rounds)
  count = operations(case)
  results = {}
  for name, times in seconds.items():
    found = summary(times)
    found['images_per_s'] = case.batch / found['seconds']
    found['useful_share'] = count['useful'] / found['seconds'] / ceiling
    if name == 'pspnet_jax':
      found['executed_share'] = count['executed'] / found['seconds'] / ceiling
    results[name] = found | {'times': times}
  theirs = [found['seconds'] for name, found in results.items() if name != 'pspnet_jax']
  ratio = results['pspnet_jax']['seconds'] / min(theirs) if theirs else None
  return {'case': str(case), 'flops': count, 'results': results, 'ratio_to_best_peer': ratio}


def rows(measured: dict[str, Any]) -> Iterator[list[str]]:
  """The case as rows of a table."""
  own = measured['results']['pspnet_jax']['seconds']
  for name, found in measured['results'].items():
    executed = found.get('executed_share')
    yield [
      name,
      f'{1e3 * found["seconds"]:.1f}',
      f'{1e3 * found["from"]:.1f}–{1e3 * found["to"]:.1f}',
      f'{found["images_per_s"]:.2f}',
      f'{100 * found["useful_share"]:.0f} %',
      f'{100 * executed:.0f} %' if executed else '',
      '' if name == 'pspnet_jax' else f'{own / found["seconds"]:.2f}',
    ]


COLUMNS = (
  'program',
  'ms',
  'middle half',
  'images/s',
  'of ceiling, useful',
  'executed',
  'ours / this',
)
