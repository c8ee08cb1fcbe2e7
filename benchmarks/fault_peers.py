"""What happens to two processes that train together, other than signals that ask to stop."""

from __future__ import annotations

import dataclasses
import shutil
import signal
from collections.abc import Callable, Iterator

from benchmarks.fault_hurts import damage, damaged_latest, full_disk
from benchmarks.fault_runs import EVERY, Bench
from benchmarks.fault_verdicts import Fault, Outcome, ended_in_a_sentence, recovered


def faults() -> Iterator[Fault]:
  """Yields them."""

  def alone(index: int) -> Callable[[Bench], Outcome]:
    def judge(bench: Bench) -> Outcome:
      ended = bench.train(bench.fresh(f'alone {index}'), 2, indices=(index,))
      return ended_in_a_sentence(ended, 2 * bench.limit)

    return judge

  yield Fault('a coordinator or a peer that does not come', 'coordinator silent', alone(1))
  yield Fault('a coordinator or a peer that does not come', 'peer never comes', alone(0))

  def stopped(index: int) -> Callable[[Bench], Outcome]:
    def judge(bench: Bench) -> Outcome:
      where = {'method': 'on_log', 'step': EVERY + 1, 'delay': 0.0, 'processes': [index]}
      fault = {**where, 'signal': int(signal.SIGSTOP)}
      workdir = bench.fresh(f'stopped {index}')
      ended = bench.train(workdir, 2, fault=fault, spared=(index,))
      return recovered(bench, workdir, ended, 2, ends=True, marked=True)

    return judge

  for who, index in (('first', 0), ('other', 1)):
    yield Fault('a peer that is frozen (SIGSTOP)', who, stopped(index))
    yield Fault('other flags on one', f'unknown flag, {who}', _other(index, '--nonsense=1'))
    yield Fault('other flags on one', f'seed, {who}', _other(index, '--config.seed=9'))
    root = '--config.data.root=/nonexistent'
    yield Fault('other flags on one', f'no data, {who}', _other(index, root))
    yield Fault('a damaged image on one', who, _bad_image(index))
    for kilobytes in (3, 20):  # its config is too large, or its arrays are
      name = f'{who}, {kilobytes} kB'
      yield Fault('full disk (one of two)', name, _small_files(index, kilobytes))
  kind = 'latest checkpoint damaged (two processes)'
  for item in ('params', 'card'):
    yield Fault(kind, item, damaged_latest(item, 'flip', 2))
  yield Fault('full disk (all of two)', '120 kB', full_disk(120, 2))
  yield Fault('workdirs not shared', 'two folders', _unshared)


def _other(index: int, flag: str) -> Callable[[Bench], Outcome]:
  def judge(bench: Bench) -> Outcome:
    workdir = bench.fresh(f'other {flag} {index}')
    ended = bench.train(workdir, 2, flags={index: [flag]})
    return ended_in_a_sentence(ended, 2 * bench.limit)  # from the start on

  return judge


def _bad_image(index: int) -> Callable[[Bench], Outcome]:
  def judge(bench: Bench) -> Outcome:
    root = bench.folder / 'bad_data'
    if not root.exists():
      shutil.copytree(bench.data, root)
      for path in sorted((root / 'images' / 'train').iterdir())[:4]:
        damage(path, 'cut')
    workdir = bench.fresh(f'bad image {index}')
    ended = bench.train(workdir, 2, flags={index: [f'--config.data.root={root}']})
    return ended_in_a_sentence(ended, 2 * bench.limit, '.png')

  return judge


def _small_files(index: int, kilobytes: int) -> Callable[[Bench], Outcome]:
  """Lets one process write small files only, as a stand-in for a full disk of its own."""
  size = 1000 * kilobytes
  limited = f'import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n'

  def judge(bench: Bench) -> Outcome:
    workdir = bench.fresh(f'small files {index} {kilobytes}')
    env = bench.beginning_with(f'small_files_{kilobytes}', limited)
    ended = bench.train(workdir, 2, own_env={index: env})
    longer = dataclasses.replace(bench, limit=2 * bench.limit)
    return recovered(longer, workdir, ended, 2, ends=True)

  return judge


def _unshared(bench: Bench) -> Outcome:
  workdirs = {i: bench.fresh(f'unshared {i}') for i in range(2)}
  ended = bench.train(workdirs[0], 2, workdirs=workdirs)
  return ended_in_a_sentence(ended, 2 * bench.limit, 'shared')
