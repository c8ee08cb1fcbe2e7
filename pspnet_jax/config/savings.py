"""Changes of settings that save memory in training."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import ml_collections

CHUNK_ROWS = 32


def ways_to_save(config: ml_collections.ConfigDict, count: int) -> Iterator[dict[str, Any]]:
  """Yields changes of settings that save memory on `count` devices and are not made yet."""
  remat = config.model.get('remat') is False
  # The other terms hold no logits of the image's size on accelerators anyway (`ops.cells`).
  loss = config.loss
  chunks = loss.get('chunk_rows') == 0 and loss.get('dice', 0) > 0 and not loss.get('lovasz')
  if remat:
    yield {'model.remat': True}
  if chunks:
    yield {'loss.chunk_rows': CHUNK_ROWS}
  if remat and chunks:
    yield {'model.remat': True, 'loss.chunk_rows': CHUNK_ROWS}
  for times in (2, 4):
    steps = times * config.accumulation_steps
    if config.batch_size % (count * steps) == 0:
      yield {'accumulation_steps': steps}


def changed(
  config: ml_collections.ConfigDict, changes: dict[str, Any]
) -> ml_collections.ConfigDict:
  """A copy with other settings, by their names."""
  config = copy.deepcopy(config)
  config.update_from_flattened_dict(changes)
  return config
