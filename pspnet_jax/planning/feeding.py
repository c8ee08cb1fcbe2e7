"""What reading and augmenting an image takes of a CPU core, and how many cores a device needs."""

from __future__ import annotations

import contextlib
import time

from pspnet_jax.data.loader import Transform, train_batches
from pspnet_jax.data.spec import Source


def core_seconds(source: Source, transform: Transform, *, images: int = 32) -> float:
  """CPU seconds of this machine that a training example takes, from its files to its arrays.

  As many warm up first, and do not count. Files that were read before come from memory.

  Args:
    source: the training data.
    transform: what training makes of them.
    images: how many are measured.

  Raises:
    UserError: whatever the source raises.
  """
  batches = train_batches(
    source, transform=transform, batch_size=images, seed=0, threads=0, prefetch=0
  )
  with contextlib.closing(batches):
    next(batches)
    began = time.process_time()
    next(batches)
    return (time.process_time() - began) / images
