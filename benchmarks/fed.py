"""Training fed from image files beside the bare step: whether the device waits for its images.

The files are read, augmented and batched by the package's loader. It needs Grain and Pillow; where
they are missing OpenCV reads the files and a pool of threads takes Grain's place, with the same
augmentation and the same transfer to the device. The figures say which it was.
"""

from __future__ import annotations

import collections
import importlib.util
import itertools
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np

from benchmarks import photographs, work
from benchmarks.timing import Program, summary
from pspnet_jax.data.augment import Augment
from pspnet_jax.data.spec import Example
from pspnet_jax.models.network import Network
from pspnet_jax.runtime import parallel
from pspnet_jax.training import optim
from pspnet_jax.training.state import TrainState
from pspnet_jax.training.step import jit_options, make_train_step

COLUMNS = ('program', 'ms a batch', 'middle half', 'images/s', 'of the bare step')
SIZE = 512, 683  # of an image, as in ADE20K
IMAGES, AHEAD = 16, 2
STEPS, WARM_UP = 16, 6  # the batches that a loader has prepared meanwhile do not count
Batches = Iterator[dict[str, np.ndarray]]


def measure(
  case: work.Case, rounds: int, threads: int | None = None, steps: int | None = None
) -> dict[str, Any]:
  """Times the bare step, the step fed by a loader, and the loader without a step, in turn.

  Args:
    case: a training step.
    rounds: how often.
    threads: that read and augment; None: one a core.
    steps: that are timed together; None: `STEPS`.
  """
  threads = threads or len(os.sched_getaffinity(0))
  with tempfile.TemporaryDirectory() as folder:
    paths = _make_files(Path(folder), case.num_classes)
    name, batches = _batches(Path(folder), paths, case, threads)
    try:
      results = _measure(case, rounds, steps or STEPS, batches)
    finally:
      batches.close()
  about = f'{threads} threads, files of {SIZE[1]}×{SIZE[0]}, {name}'
  return {'case': f'{case}, fed by {about}', 'results': results}


def rows(measured: dict[str, Any]) -> Iterator[list[str]]:
  """The programs as rows of a table."""
  bare = measured['results']['bare step']['seconds']
  for name, found in measured['results'].items():
    yield [
      name,
      f'{1e3 * found["seconds"]:.1f}',
      f'{1e3 * found["from"]:.1f}–{1e3 * found["to"]:.1f}',
      f'{found["images_per_s"]:.1f}',
      f'{found["seconds"] / bare:.2f}',
    ]


def _measure(case: work.Case, rounds: int, steps: int, batches: Batches) -> dict[str, Any]:
  mesh = parallel.make_mesh()
  on_mesh = parallel.replicated(mesh)
  network = Network(case.num_classes, depth=case.depth, dtype=case.dtype)
  tx = optim.sgd(network.param_shapes, optim.learning_rate(0.01, 100_000))
  options = jit_options(network, mesh.devices.flat[0].platform, devices=mesh.size)
  step = jax.jit(make_train_step(network, tx), out_shardings=on_mesh, **options)
  carried = [jax.device_put(TrainState.create(network, tx, seed=0), on_mesh)]
  stream = parallel.prefetch(batches, mesh)
  kept = next(stream)

  def train(batch: dict[str, jax.Array]) -> None:
    carried[0], _ = step(carried[0], batch)

  def wait() -> None:
    jax.block_until_ready(carried)

  programs = {
    'bare step': Program(lambda: train(kept), wait),
    'fed step': Program(lambda: train(next(stream)), wait),
    'loader alone': Program(lambda: next(batches), lambda: None),
  }
  seconds: dict[str, list[float]] = {name: [] for name in programs}
  programs['bare step'].seconds()  # compiles
  for _ in range(rounds):
    for name, program in programs.items():
      program.seconds(min(WARM_UP, steps))
      seconds[name].append(program.seconds(steps))
  results = {name: summary(times) for name, times in seconds.items()}
  return {
    name: found | {'images_per_s': case.batch / found['seconds']} for name, found in results.items()
  }


def _make_files(folder: Path, num_classes: int) -> list[tuple[str, str]]:
  """Writes a folder data set of images and labels made up."""
  rng = np.random.default_rng(0)
  pairs = []
  for kind in ('images', 'labels'):
    (folder / kind / 'train').mkdir(parents=True)
  for index in range(IMAGES):
    image = folder / 'images' / 'train' / f'{index:05d}.jpg'
    label = folder / 'labels' / 'train' / f'{index:05d}.png'
    photographs.save_image(photographs.photograph(rng, *SIZE), image)
    cv2.imwrite(str(label), photographs.label(rng, *SIZE, num_classes))
    pairs.append((str(image), str(label)))
  return pairs


def _batches(
  folder: Path, paths: list[tuple[str, str]], case: work.Case, threads: int
) -> tuple[str, Any]:
  """Returns endless batches, and what makes them."""
  augment = Augment((case.size, case.size))
  if importlib.util.find_spec('grain') and importlib.util.find_spec('PIL'):
    from pspnet_jax.data.folder import Folder
    from pspnet_jax.data.loader import train_batches

    classes = [str(i) for i in range(case.num_classes)]
    source = Folder(str(folder), class_names=classes)
    options: dict[str, Any] = {'batch_size': case.batch, 'seed': 0, 'threads': threads}
    return "the package's loader", train_batches(source, transform=augment, **options)
  return 'a pool of threads in place of Grain', _pooled(paths, augment, case.batch, threads)


def _pooled(
  paths: list[tuple[str, str]], augment: Augment, batch: int, threads: int
) -> Iterator[dict[str, np.ndarray]]:
  """Yields batches in order, `AHEAD` of them under way."""

  def example(position: int) -> dict[str, np.ndarray]:
    image, label = paths[position % len(paths)]
    pixels = cv2.cvtColor(cv2.imread(image), cv2.COLOR_BGR2RGB)
    ids = cv2.imread(label, cv2.IMREAD_GRAYSCALE)
    rng = np.random.default_rng((0, position))
    return augment(Example(image=pixels, label=ids, name=str(position)), rng)

  with ThreadPoolExecutor(threads) as pool:
    coming: collections.deque[Future[dict[str, np.ndarray]]] = collections.deque()
    for position in itertools.count():
      coming.append(pool.submit(example, position))
      if len(coming) == (1 + AHEAD) * batch:
        rows = [coming.popleft().result() for _ in range(batch)]
        yield {name: np.stack([row[name] for row in rows]) for name in rows[0]}
