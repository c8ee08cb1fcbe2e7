"""A training run that takes seconds, and how to start the commands on it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import ml_collections

from pspnet_jax.config import files
from tests import quick

ROOT = Path(__file__).resolve().parent.parent

CONFIG = """
import ml_collections

def get_config():
  c = ml_collections.ConfigDict()
  c.batch_size, c.total_steps, c.crop_size = 8, 6, (33, 49)
  c.log_every, c.eval_every, c.checkpoint_every, c.pictures = 2, 0, 2, 2
  c.data = {'name': 'context_scenes', 'size': (33, 49),
            'train': {'length': 24}, 'val': {'length': 5}}
  c.model = {'depth': 10, 'stem_channels': (4, 4, 8), 'width': 4, 'bins': (1, 2),
             'head_channels': 8, 'aux_channels': 8}
  c.eval = {'whole_images': True}
  return c
"""


def config_file(folder: Path) -> Path:
  path = folder / 'tiny.py'
  path.write_text(CONFIG)
  return path


def config(folder: Path, **changes) -> ml_collections.ConfigDict:
  """The tiny config; changes are written a__b=value for a.b."""
  c = files.load(str(config_file(folder)))
  c.update_from_flattened_dict({name.replace('__', '.'): value for name, value in changes.items()})
  return c


def command(name: str, *arguments: object) -> list[str]:
  return [sys.executable, '-m', f'pspnet_jax.{name}', *map(str, arguments)]


def environment(devices: int = 1) -> dict[str, str]:
  flags = quick.flags(devices)
  return {**os.environ, 'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': flags, 'COLUMNS': '120'}


def at_once(command: Callable[[int, int], list[str]], timeout: int, count: int = 2) -> list[str]:
  """Runs command(port, index) for each index, which meet at that port; returns their outputs."""
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  processes = [
    subprocess.Popen(
      command(port, i),
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
      cwd=ROOT,
      env=environment(),
    )
    for i in range(count)
  ]
  try:
    outs = [process.communicate(timeout=timeout) for process in processes]
  finally:
    for process in processes:
      process.kill()
  assert [process.returncode for process in processes] == [0] * count, outs
  return [out for out, _ in outs]


def run(name: str, *arguments: object, devices: int = 1) -> subprocess.CompletedProcess:
  """Runs a command in a process of its own that need not import it; see `command_lines`."""
  from tests import command_lines  # which needs this module

  job = command_lines.Job([name, *map(str, arguments)], str(ROOT), run=True)
  return subprocess.CompletedProcess(job.argv, *command_lines.answer(job, environment(devices)))
