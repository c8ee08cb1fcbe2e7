"""Training processes that are hurt, and how each of them ended."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2

from benchmarks.fault_moments import MARK, VARIABLE
from pspnet_jax.data.scenes import SPEC, ContextScenes

ROOT = Path(__file__).parent.parent
STEPS, EVERY = 12, 4  # of a run, and between its checkpoints and evaluations
_CONFIG = """
import ml_collections

def get_config():
  c = ml_collections.ConfigDict()
  c.batch_size, c.total_steps, c.crop_size = 4, {steps}, (33, 33)
  c.log_every, c.eval_every, c.checkpoint_every, c.pictures, c.threads = 1, {every}, {every}, 0, 1
  c.data = {{'name': 'folder', 'root': {root!r}, 'class_names': {classes!r},
            'train': {{'split': 'train'}}, 'val': {{'split': 'val'}}}}
  c.model = {{'depth': 10, 'stem_channels': (4, 4, 8), 'width': 4, 'bins': (1, 2),
             'head_channels': 8, 'aux_channels': 8}}
  c.eval = {{'whole_images': True}}
  c.callbacks = ('benchmarks.fault_moments:Moments',)
  return c
"""
_PATIENCE = 420.0  # seconds that any process may live


@dataclasses.dataclass(frozen=True)
class Ended:
  """How one process ended.

  Attributes:
    status: its exit status; None if it had to be killed.
    said: what it wrote to standard error.
    seconds: from the fault to its end.
  """

  status: int | None
  said: str
  seconds: float

  @property
  def sentences(self) -> list[str]:
    """What it ended with."""
    return [line for line in self.said.splitlines() if line.startswith('Error: ')]


@dataclasses.dataclass
class Bench:
  """A place where the runs of a campaign are made.

  Args:
    folder: of all of it.
    limit: seconds within which all processes have to end after a fault.
  """

  folder: Path
  limit: float = 60.0

  def __post_init__(self) -> None:
    self.folder = self.folder.absolute()
    self.folder.mkdir(parents=True, exist_ok=True)
    self.data = self.folder / 'data'
    if not self.data.exists():
      write_scenes(self.data)
    values = {'steps': STEPS, 'every': EVERY, 'classes': SPEC.class_names}
    self.config = self.folder / 'config.py'
    self.config.write_text(_CONFIG.format(root=str(self.data), **values))

  def fresh(self, name: str) -> Path:
    """A workdir that is not there yet."""
    workdir = self.folder / 'runs' / re.sub(r'\W+', '_', name)
    shutil.rmtree(self.files(workdir), ignore_errors=True)
    shutil.rmtree(workdir, ignore_errors=True)
    return workdir

  def files(self, workdir: Path) -> Path:
    """The records of a workdir's processes: not beside it, where the disk may be full."""
    return self.folder / 'said' / re.sub(r'\W+', '_', str(workdir.relative_to(self.folder)))

  def beginning_with(self, name: str, code: str) -> dict[str, str]:
    """The environment of a process that runs `code` before anything else."""
    folder = self.folder / name
    folder.mkdir(exist_ok=True)
    (folder / 'sitecustomize.py').write_text(code)
    return {'PYTHONPATH': os.pathsep.join([str(folder), str(ROOT)])}

  def reference(self, processes: int = 1) -> Path:
    """The workdir of an undisturbed run."""
    workdir = self.folder / f'reference_{processes}'
    if not (workdir / 'checkpoints' / str(STEPS)).exists():
      shutil.rmtree(workdir, ignore_errors=True)
      ended = self.train(workdir, processes)
      if any(e.status for e in ended):
        raise RuntimeError(f'an undisturbed run fails: {[e.said[-800:] for e in ended]}')
    return workdir

  def start(
    self,
    workdir: Path,
    index: int,
    processes: int,
    port: int,
    *flags: str,
    env: Mapping[str, str],
  ) -> subprocess.Popen[str]:
    """Starts one process of a run; what it says goes to files beside the workdir."""
    files = self.files(workdir)
    files.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, '-m', 'pspnet_jax.train']
    command += [f'--config={self.config}', f'--workdir={workdir}', *flags]
    if processes > 1:
      command += [f'--coordinator=127.0.0.1:{port}', f'--num_processes={processes}']
      # A process that waits for one that was killed ahead of the meeting gives up in time, too.
      command += [f'--process_id={index}', f'--join_timeout={max(20.0, self.limit / 2):g}']
    with (
      (files / f'out{index}').open('w') as out,
      (files / f'err{index}').open('w') as err,
    ):
      return subprocess.Popen(
        command,
        stdout=out,
        stderr=err,
        text=True,
        cwd=ROOT,
        env=self._environment() | env,
        start_new_session=True,
      )

  def _environment(self) -> dict[str, str]:
    kept = {
      'JAX_COMPILATION_CACHE_DIR': str(self.folder / 'compiled'),
      'JAX_PERSISTENT_COMPILATION_CACHE_MIN_COMPILE_TIME_SECS': '0',
    }
    flags = '--xla_force_host_platform_device_count=1 --xla_backend_optimization_level=0'
    return {
      **os.environ,
      'JAX_PLATFORMS': 'cpu',
      'XLA_FLAGS': flags,
      'PYTHONPATH': str(ROOT),
    } | kept

  def train(
    self,
    workdir: Path,
    processes: int = 1,
    *,
    indices: Sequence[int] | None = None,
    fault: Mapping[str, Any] | None = None,
    strike: tuple[float, int, Sequence[int]] | None = None,
    flags: Mapping[int, Sequence[str]] = {},
    env: Mapping[str, str] = {},
    workdirs: Mapping[int, Path] = {},
    own_env: Mapping[int, Mapping[str, str]] = {},
    spared: Sequence[int] = (),
  ) -> list[Ended]:
    """Runs to the end, or until patience is.

    Args:
      workdir: of the run.
      processes: that train together.
      indices: of those that are started; all, as a rule.
      fault: see `Moments`.
      strike: seconds after the start at which a signal is sent from here, the signal, to whom.
      flags, workdirs, own_env: what is another one for some of the processes.
      env: in all of them.
      spared: those that are not waited for, which are ended when the others have.
    """
    files = self.files(workdir)
    files.mkdir(parents=True, exist_ok=True)
    (files / MARK).unlink(missing_ok=True)
    if fault is not None:
      env = {**env, VARIABLE: json.dumps({**fault, 'folder': str(files)})}
    port, began = free_port(), time.time()
    running = {
      i: self.start(
        workdirs.get(i, workdir),
        i,
        processes,
        port,
        *flags.get(i, ()),
        env={**env, **own_env.get(i, {})},
      )
      for i in (range(processes) if indices is None else indices)
    }
    try:
      if strike is not None:
        time.sleep(strike[0])
        for i in strike[2]:
          running[i].send_signal(strike[1])
        began = time.time()
      ends = _wait(running, spared)
    finally:
      for process in running.values():
        if process.poll() is None:
          os.killpg(process.pid, signal.SIGKILL)
          process.wait()
    with contextlib.suppress(FileNotFoundError, ValueError):
      began = float((files / MARK).read_text())
    return [
      Ended(
        status,
        (self.files(workdirs.get(i, workdir)) / f'err{i}').read_text(errors='replace'),
        round(max(when - began, 0.0), 1),
      )
      for i, (status, when) in sorted(ends.items())
    ]


def _wait(
  running: Mapping[int, subprocess.Popen[str]], spared: Sequence[int]
) -> dict[int, tuple[int | None, float]]:
  began, ends = time.time(), dict[int, tuple[int | None, float]]()
  while len(ends) < len(running) - len(spared) and time.time() < began + _PATIENCE:
    for i, process in running.items():
      if i not in ends and i not in spared and process.poll() is not None:
        ends[i] = process.returncode, time.time()
    time.sleep(0.1)
  late = running.keys() - ends.keys() - set(spared)
  return ends | {i: (None, time.time()) for i in late}


def free_port() -> int:
  """A port of this machine that nobody listens at."""
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    return int(free.getsockname()[1])


def write_scenes(folder: Path, train: int = 12, val: int = 4) -> None:
  """Writes a data set of small PNG files."""
  for split, length in (('train', train), ('val', val)):
    source = ContextScenes(split, size=(33, 33), length=length)
    for kind in ('images', 'labels'):
      (folder / kind / split).mkdir(parents=True)
    for i in range(length):
      example = source[i]
      cv2.imwrite(str(folder / 'images' / split / f'{i}.png'), example['image'][..., ::-1])
      cv2.imwrite(str(folder / 'labels' / split / f'{i}.png'), example['label'])
