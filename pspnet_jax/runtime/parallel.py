"""Data parallelism: one mesh axis over every device of every process."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from pspnet_jax.errors import PeerFailed, Stopped, UserError


def make_mesh(local: bool = False) -> Mesh:
  """A mesh of one axis, 'data', over all devices, or over this process's own."""
  devices = jax.local_devices() if local else jax.devices()
  return jax.make_mesh((len(devices),), ('data',), (AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
  """Every device holds the whole array."""
  return NamedSharding(mesh, PartitionSpec())


def split_batch(mesh: Mesh) -> NamedSharding:
  """The first axis is divided among the devices."""
  return NamedSharding(mesh, PartitionSpec('data'))


def check_batch_size(batch_size: int, mesh: Mesh, accumulation_steps: int = 1) -> None:
  """Raises UserError unless every device gets the same number of images in every part."""
  devices = mesh.size
  if batch_size < 1 or batch_size % (devices * accumulation_steps):
    parts = f' × {accumulation_steps} accumulation steps' if accumulation_steps > 1 else ''
    unit = devices * accumulation_steps
    raise UserError(
      f'batch size {batch_size} does not divide among {devices} device(s){parts}: '
      f'make batch_size a multiple of {unit}, such as {max(unit, batch_size // unit * unit)}.'
    )


def to_global(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
  """Starts the transfer of this process's rows of a batch; global arrays, split over the mesh."""
  sharding = split_batch(mesh)
  return {name: jax.make_array_from_process_local_data(sharding, x) for name, x in batch.items()}


def prefetch(
  batches: Iterable[dict[str, np.ndarray]], mesh: Mesh, depth: int = 2
) -> Iterator[dict[str, jax.Array]]:
  """Applies `to_global` `depth` batches ahead, so that transfers overlap with computation."""
  queue: collections.deque[dict[str, jax.Array]] = collections.deque()
  batches = iter(batches)
  for batch in itertools.islice(batches, depth):
    queue.append(to_global(batch, mesh))
  while queue:
    yield queue.popleft()
    for batch in itertools.islice(batches, 1):
      queue.append(to_global(batch, mesh))


def local_view(tree: Any) -> Any:
  """Gives replicated global arrays as arrays on this process's first device, without a copy."""
  return jax.tree.map(lambda x: x.addressable_data(0) if isinstance(x, jax.Array) else x, tree)


def sum_over_processes(x: np.ndarray) -> np.ndarray:
  """Sums an int64 array over all processes; each of them gets the sum."""
  if jax.process_count() == 1:
    return x
  from jax.experimental import multihost_utils

  # JAX narrows 64-bit integers, so they travel in two halves.
  halves = np.stack([x >> 32, x & 0xFFFFFFFF]).astype(np.uint32)
  high, low = np.asarray(multihost_utils.process_allgather(halves), np.int64).sum(0)
  return (high << 32) + low


def of_first(x: np.ndarray) -> np.ndarray:
  """Gives each process the first one's int64 array of one axis; theirs may be of other lengths."""
  first = jax.process_index() == 0
  length = int(sum_over_processes(np.array([len(x) if first else 0], np.int64))[0])
  return sum_over_processes(np.asarray(x if first else np.zeros(length), np.int64))


@contextlib.contextmanager
def together() -> Iterator[None]:
  """Ends all processes if one of them fails in the block, which all of them enter.

  They would wait for it else. Nothing in the block may wait for the others.

  Raises:
    UserError: what the block raised.
    PeerFailed: if it did in another process.
  """
  failed = None
  try:
    yield
  except UserError as e:
    failed = e
  failures = sum_over_processes(np.array([failed is not None], np.int64))[0]
  if failed is not None:
    raise failed
  if failures:
    raise PeerFailed('another process has failed: see what it says.')


@contextlib.contextmanager
def stopping_together() -> Iterator[None]:
  """Stops all processes in the block, which all of them enter, if one of them is stopped there.

  It may have come to the end of the block in one before a signal cut it short in another. Nothing
  in the block may wait for the others.

  Raises:
    Stopped: what the block raised, or that it did in another process.
  """
  stopped = None
  try:
    yield
  except Stopped as e:
    stopped = e
  number = 0 if stopped is None else stopped.status
  found = sum_over_processes(np.bincount([number], minlength=256))[1:]  # statuses
  if stopped is not None:
    raise stopped
  if found.any():
    raise Stopped('stopped in another process.', int(found.argmax()) + 1 - 128)


def differing(values: Mapping[str, Any]) -> list[str]:
  """The names of those values, as JSON would have them, that are not the same in all processes.

  Each process gives the same names.
  """
  if jax.process_count() == 1:
    return []
  texts = [json.dumps(x, sort_keys=True, default=str) for x in values.values()]
  digests = [hashlib.sha256(text.encode()).digest()[:7] for text in texts]
  table = np.zeros((jax.process_count(), len(values)), np.int64)
  table[jax.process_index()] = [int.from_bytes(x) for x in digests]
  table = sum_over_processes(table)
  return [name for name, column in zip(values, table.T, strict=True) if np.ptp(column)]
