"""What becomes of a checkpoint whose files are damaged: read here, without a process of its own."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.fault_hurts import damage
from benchmarks.fault_runs import STEPS, Bench
from benchmarks.fault_verdicts import Fault, Outcome
from pspnet_jax.models.network import Network
from pspnet_jax.weights.checkpoint_faults import Damaged
from pspnet_jax.weights.checkpoint_manager import open_manager
from pspnet_jax.weights.stored_step import StoredStep

_WAYS = {
  how: f'each file of a checkpoint {what}'
  for how, what in (('cut', 'truncated'), ('empty', 'emptied'), ('remove', 'deleted'))
}
_FLIPPED = 'one bit of a checkpoint flipped'
KINDS = (*_WAYS.values(), _FLIPPED)


def faults(bench: Bench, seed: int, flips: int) -> Iterator[Fault]:
  """Yields one for each file of the last checkpoint and each way, and then flipped bits."""
  folder = bench.fresh('damaged files') / str(STEPS)
  shutil.copytree(bench.reference() / 'checkpoints' / str(STEPS), folder)
  sound = _read(folder, None)
  files = sorted(path for path in folder.rglob('*') if path.is_file())
  for how, kind in _WAYS.items():
    for path in files:
      name = str(path.relative_to(folder))
      yield Fault(kind, name, _judged(folder, sound, path, how))
  rng = random.Random(seed)
  sizes = [path.stat().st_size for path in files]
  for i in range(flips):
    # Half of them anywhere, half of them in any file: most bytes are those of a few.
    path = rng.choices(files, sizes)[0] if i % 2 else rng.choice(files)
    bit = rng.randrange(8 * path.stat().st_size)
    name = f'{i}: bit {bit} of {path.relative_to(folder)}'
    yield Fault(_FLIPPED, name, _judged(folder, sound, path, 'flip', bit))


def _judged(
  folder: Path, sound: _Read, path: Path, how: str, bit: int | None = None
) -> Callable[[Bench], Outcome]:
  def judge(_: Bench) -> Outcome:
    content = path.read_bytes()
    try:
      damage(path, how, bit)
      found = _read(folder, sound.network)
    except Damaged as e:
      return Outcome('sentence', said=(str(e),))
    except Exception as e:
      return Outcome('bad', why=f'{type(e).__name__}: {str(e)[:200]}')
    finally:
      path.write_bytes(content)
    same = jax.tree.map(lambda a, b: bool(np.all(a == b)), sound.all, found.all)
    if jax.tree.all(same):
      return Outcome('bit-identical')
    return Outcome('bad', why='read as if it were sound')

  return judge


class _Read(NamedTuple):
  """All that a checkpoint holds, as whoever asks for the best gets it."""

  network: Network
  all: Any


def _read(folder: Path, network: Network | None) -> _Read:
  open_manager(folder.parent, read_only=True).close()
  stored = StoredStep(folder)
  if stored.lost_score:
    raise Damaged(folder, 'its score is gone')
  card = stored.card()
  network = network or card.build_network()
  found = stored.load(lambda _: network, ema=False)
  return _Read(network, (card.to_json(), stored.verified(), found.params, found.batch_stats))
