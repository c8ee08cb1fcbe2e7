"""Timing that two libraries can share: they take turns, and the median speaks."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping

LEAST_SECONDS = 0.2  # a measurement repeats a short step until it has taken this long


@dataclasses.dataclass(frozen=True)
class Program:
  """One of the things compared.

  Args:
    run: does the work once; may return before the device is done.
    wait: returns when the device is done.
  """

  run: Callable[[], object]
  wait: Callable[[], object]

  def seconds(self, times: int = 1) -> float:
    began = time.perf_counter()
    for _ in range(times):
      self.run()
    self.wait()
    return (time.perf_counter() - began) / times


def alternate(programs: Mapping[str, Program], rounds: int) -> dict[str, list[float]]:
  """Seconds a run of each program, once a round; in a round they take turns.

  What slows the machine down for a while so slows all of them down. Twice before it counts each
  runs unmeasured: the first time compiles.
  """
  repeats = {}
  for name, program in programs.items():
    program.seconds()
    repeats[name] = max(1, round(LEAST_SECONDS / program.seconds()))
  seconds: dict[str, list[float]] = {name: [] for name in programs}
  for _ in range(rounds):
    for name, program in programs.items():
      seconds[name].append(program.seconds(repeats[name]))
  return seconds


def summary(seconds: list[float]) -> dict[str, float]:
  """Median, and the middle half's ends."""
  ordered = sorted(seconds)
  quarter = len(ordered) // 4
  return {
    'seconds': statistics.median(ordered),
    'from': ordered[quarter],
    'to': ordered[-1 - quarter],
  }
