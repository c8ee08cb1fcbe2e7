"""The faults of the campaign: what is done to a run, and what became of it."""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks import fault_peers
from benchmarks.fault_hurts import damaged_latest, full_disk
from benchmarks.fault_runs import EVERY, Bench, Ended, free_port
from benchmarks.fault_verdicts import Fault, Outcome, complaints, recovered

SIGNALS = ('SIGKILL', 'SIGTERM', 'SIGINT', 'SIGHUP')
# The call that a moment follows, at which step, and within how many seconds.
MOMENTS = {
  'start': None,
  'compile': ('on_start', 0, 0.5),
  'step': ('on_log', EVERY + 1, 0.02),
  'evaluation': ('on_log', 2 * EVERY, 0.1),
  'save': ('on_save', EVERY, 0.1),
}
WHO = {'all': (0, 1), 'first': (0,), 'other': (1,)}
_NO_CACHE = {'JAX_ENABLE_COMPILATION_CACHE': '0'}  # for a compilation that can be interrupted
_CLOCK = """
import time
_start, _jump = time.monotonic(), {jump}
for _name, _unit in (('time', 1), ('time_ns', 10**9)):
  def _later(real=getattr(time, _name), unit=_unit):
    return real() + (_jump * unit if time.monotonic() - _start > 4 else 0)
  setattr(time, _name, _later)
"""


def faults(seed: int, quick: bool) -> Iterator[Fault]:
  """Yields those that are done to processes.

  Args:
    seed: of the moments.
    quick: a sample: of two processes, two signals.
  """
  rng = random.Random(seed)
  for name in SIGNALS:
    for moment in MOMENTS:
      yield _signal_fault(name, moment, 'one process', (0,), 1, rng)
  yield from _one_process()
  signals = SIGNALS[1::2] if quick else SIGNALS
  for name in signals:
    for moment in ('step',) if quick else MOMENTS:
      for who, indices in WHO.items():
        yield _signal_fault(name, moment, f'{who} of two', indices, 2, rng)
  yield from fault_peers.faults()


def _signal_fault(
  name: str, moment: str, who: str, indices: Sequence[int], count: int, rng: random.Random
) -> Fault:
  number, found = int(getattr(signal, name)), MOMENTS[moment]
  if found is None:
    options: dict[str, Any] = {'strike': (rng.uniform(0.3, 3), number, indices)}
  else:
    method, step, within = found
    delay = rng.uniform(0, within)
    where = {'method': method, 'step': step, 'delay': delay}
    options = {'fault': {**where, 'signal': number, 'processes': list(indices)}}
    if moment == 'compile':
      options['env'] = _NO_CACHE

  def judge(bench: Bench) -> Outcome:
    workdir = bench.fresh(f'{name} {moment} {who}')
    ended = bench.train(workdir, count, **options)
    marked = 'fault' in options
    return recovered(bench, workdir, ended, count, struck=indices, ends=True, marked=marked)

  return Fault(f'{name} ({who})', moment, judge)


def _one_process() -> Iterator[Fault]:
  for kilobytes in (40, 120, 250, 500):
    yield Fault('full disk (one process)', f'{kilobytes} kB', full_disk(kilobytes, 1))
  for item, how in (('params', 'flip'), ('opt_state', 'empty'), ('card', 'remove'), ('', 'cut')):
    name = f'{item or "_CHECKPOINT_METADATA"}, {how}'
    yield Fault('latest checkpoint damaged (one process)', name, damaged_latest(item, how, 1))
  for jump in (3600, -3600):
    yield Fault('clock jumps in mid-run', f'{jump:+} s', _clock(jump))
    yield Fault('files of another time', f'{jump * 24:+} s', _mtimes(jump * 24))
  for gap in (0.0, 3.0):
    yield Fault('two runs in one workdir', f'{gap:.0f} s apart', _two_runs(gap))


def _clock(jump: int) -> Callable[[Bench], Outcome]:
  def judge(bench: Bench) -> Outcome:
    workdir = bench.fresh(f'clock {jump}')
    env = bench.beginning_with(f'clock_{jump}', _CLOCK.format(jump=jump))
    ended = bench.train(workdir, env=env)
    return recovered(dataclasses.replace(bench, limit=float('inf')), workdir, ended)

  return judge


def _mtimes(seconds: int) -> Callable[[Bench], Outcome]:
  def judge(bench: Bench) -> Outcome:
    workdir = bench.fresh(f'mtimes {seconds}')
    where = {'method': 'on_log', 'step': EVERY + 1, 'delay': 0.0, 'processes': [0]}
    stopped = bench.train(workdir, fault={**where, 'signal': int(signal.SIGTERM)})
    when = time.time() + seconds
    for path in workdir.rglob('*'):
      os.utime(path, (when, when))
    patient = dataclasses.replace(bench, limit=float('inf'))
    return recovered(patient, workdir, stopped, struck=(0,), ends=True, marked=True)

  return judge


def _two_runs(gap: float) -> Callable[[Bench], Outcome]:
  def judge(bench: Bench) -> Outcome:
    workdir, began = bench.fresh(f'two runs {gap}'), time.time()
    env = dict[str, str]()
    running = [bench.start(workdir, 0, 1, free_port(), env=env)]
    time.sleep(gap)
    running.append(bench.start(workdir, 1, 1, free_port(), env=env))
    statuses = [process.wait() for process in running]
    files = bench.files(workdir)
    seconds = time.time() - began
    texts = [(files / f'err{i}').read_text() for i in range(2)]
    ended = [Ended(*x, seconds) for x in zip(statuses, texts, strict=True)]
    if sorted(statuses) != [0, 1]:
      return Outcome('bad', seconds, f'they ended with {statuses}', tuple(texts))
    return (
      recovered(bench, workdir, [e for e in ended if not e.status])
      if not any(list(complaints([e], float('inf'))) for e in ended)
      else Outcome('bad', seconds, 'no sentence', tuple(texts))
    )

  return judge
