"""Compiling a training step: how long, and the memory that the program will need."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import jax

from benchmarks import ours, work

COLUMNS = ('program', 'build, s', 'trace, s', 'compile, s', 'of CPU, s', 'temporaries, MB')


def measure(case: work.Case, **network_options: Any) -> dict[str, Any]:
  """Nothing is allocated or run. CPU seconds count all of the compiler's threads."""
  began = time.perf_counter()
  step, arguments = ours.train_step(case, **network_options)
  shapes = [jax.eval_shape(make) for make in arguments]
  built = time.perf_counter()
  lowered = step.lower(*shapes)
  traced, cpu = time.perf_counter(), time.process_time()
  compiled = lowered.compile()
  return {
    'case': str(case) + ''.join(f', {k}={v}' for k, v in network_options.items()),
    'build': built - began,
    'trace': traced - built,
    'compile': time.perf_counter() - traced,
    'compile_cpu': time.process_time() - cpu,
    'temporary_bytes': compiled.memory_analysis().temp_size_in_bytes,
  }


def rows(measured: dict[str, Any]) -> Iterator[list[str]]:
  """The case as one row of a table."""
  times = [f'{measured[n]:.1f}' for n in ('build', 'trace', 'compile', 'compile_cpu')]
  yield ['pspnet_jax', *times, f'{measured["temporary_bytes"] / 2**20:.0f}']
