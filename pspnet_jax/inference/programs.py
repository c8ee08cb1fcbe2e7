"""Compiled programs of the window shapes that were run last; those of others are freed."""

from __future__ import annotations

import collections
import logging
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

KEPT = 16  # window shapes
_MANY = 20  # after which it is worth a word
_log = logging.getLogger(__name__)


class Compiled(Protocol):
  """What `jax.jit` returns."""

  def clear_cache(self) -> None: ...


Programs = TypeVar('Programs', bound=tuple[Compiled, ...])


class RecentPrograms(Generic[Programs]):
  """The programs of each window shape, compiled when they are first called.

  Sliding windows have one shape, whole images one for each of their sizes, at ten megabytes and
  more: a data set of a thousand sizes would fill the memory.

  Args:
    make: called with a shape, makes functions of `jax.jit`, new ones each time.
  """

  def __init__(self, make: Callable[[tuple[int, ...]], Programs]):
    self._make = make
    self._by_shape: collections.OrderedDict[tuple[int, ...], Programs] = collections.OrderedDict()
    self._made = 0

  def __len__(self) -> int:
    return len(self._by_shape)

  def of(self, shape: tuple[int, ...]) -> Programs:
    """Those of a shape; the shape that has waited longest gives way."""
    if shape not in self._by_shape:
      self._by_shape[shape] = self._make(shape)
      self._made += 1
      if self._made == _MANY:
        _log.warning(
          'compiled for the %dth image size: windows of one size, which compile once, are given '
          'by eval.whole_images=False or eval.window.',
          _MANY,
        )
      if len(self._by_shape) > KEPT:
        _, oldest = self._by_shape.popitem(last=False)
        for program in oldest:
          program.clear_cache()
    self._by_shape.move_to_end(shape)
    return self._by_shape[shape]
