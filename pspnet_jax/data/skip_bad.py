"""Goes on without examples that cannot be used: they are counted and logged, never in silence."""

from __future__ import annotations

import logging
import threading

import numpy as np

from pspnet_jax.data.spec import Example, Source
from pspnet_jax.errors import UserError

_log = logging.getLogger(__name__)
_ATTEMPTS = 100  # if half of the examples are bad, all fail once in 10^30 times


class SkipBadExamples:
  """A `Source` that gives another example in place of one that cannot be used.

  Which one is a function of the index and the length alone, so that batches stay a function of
  (seed, step); it is drawn from the whole source, because neighbours are often bad together and
  alike. Each bad example is logged once, when it is first met.

  Args:
    source: what to read.

  Attributes:
    bad: the examples that could not be used so far: index to reason.
    replaced: how many times one was asked for.

  Raises:
    UserError: on indexing, if a hundred drawn in its place cannot be used either.
  """

  def __init__(self, source: Source):
    self.spec = source.spec
    self.bad: dict[int, str] = {}
    self.replaced = 0
    self._source, self._lock = source, threading.Lock()

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, index: int) -> Example:
    try:
      return self._source[index]
    except UserError as e:
      error = e
      with self._lock:
        self.replaced += 1
    self._note(index, error)
    rng = np.random.Generator(
      np.random.Philox(np.random.SeedSequence(len(self), spawn_key=(index,)))
    )
    for other in rng.integers(len(self), size=_ATTEMPTS).tolist():
      try:
        return self._source[other]
      except UserError as e:
        self._note(other, e)
    raise UserError(
      f'{len(self.bad)} examples cannot be used, among them all {_ATTEMPTS} drawn in place of one '
      f'({error}): run pspnet_jax.doctor and mend the data.'
    ) from error

  def _note(self, index: int, error: UserError) -> None:
    with self._lock:
      if index in self.bad:
        return
      self.bad[index] = str(error)
      count = len(self.bad)
    _log.warning('Skipped, as config.data_errors says (%d so far): %s', count, error)
