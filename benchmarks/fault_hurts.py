"""Disks that are full, and files that are damaged."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from benchmarks.fault_runs import STEPS, Bench
from benchmarks.fault_verdicts import Outcome, ended_in_a_sentence, recovered


def damage(path: Path, how: str, bit: int | None = None) -> None:
  """Cuts a file to its half, empties or removes it, or flips a bit of it, as `how` says."""
  data = bytearray(path.read_bytes())
  if how == 'remove':
    path.unlink()
  elif how == 'flip' and data:
    bit = 8 * (len(data) // 2) if bit is None else bit
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
  else:
    path.write_bytes(data[: len(data) // 2] if how == 'cut' else b'')


def full_disk(kilobytes: int, count: int) -> Callable[[Bench], Outcome]:
  def judge(bench: Bench) -> Outcome:
    disk = bench.folder / f'disk_{kilobytes}_{count}'
    disk.mkdir(exist_ok=True)
    options = ['-o', f'size={kilobytes}k', 'tmpfs', str(disk)]
    mounted = subprocess.run(['mount', '-t', 'tmpfs', *options], capture_output=True, check=False)
    if mounted.returncode:
      return Outcome('skipped', 0.0, 'a tmpfs cannot be mounted here')
    try:
      workdir = disk / 'run'
      ended = bench.train(workdir, count)
      outcome = ended_in_a_sentence(ended, float('inf'), 'the disk is full')
      if outcome.verdict == 'bad' and any(e.status for e in ended):
        return outcome
      subprocess.run(['mount', '-o', 'remount,size=50m', str(disk)], check=True)
      patient = dataclasses.replace(bench, limit=float('inf'))
      return recovered(patient, workdir, ended, count, ends=True)
    finally:
      subprocess.run(['umount', '-l', str(disk)], check=False)

  return judge


def damaged_latest(item: str, how: str, count: int) -> Callable[[Bench], Outcome]:
  def judge(bench: Bench) -> Outcome:
    workdir = bench.fresh(f'damaged {item} {how} {count}')
    shutil.copytree(bench.reference(count), workdir)
    folder = workdir / 'checkpoints' / str(STEPS)
    files = (folder / item).rglob('*') if item else [folder / '_CHECKPOINT_METADATA']
    for path in [path for path in files if path.is_file()]:
      damage(path, how)
    ended = bench.train(workdir, count)
    said = (bench.files(workdir) / 'out0').read_text()
    if 'and passed over' not in said:
      return Outcome('bad', ended[0].seconds, 'it is not said', tuple(ended[0].sentences))
    return recovered(dataclasses.replace(bench, limit=float('inf')), workdir, ended, count)

  return judge
