"""A callback that hurts its own process at a given moment of training, for `benchmarks.faults`.

What is to happen stands in the environment: a signal, the call it follows, and by how much.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from pspnet_jax.training.callbacks import Callback

VARIABLE = 'PSPNET_FAULT'
MARK = 'fault'  # the file that gets the time


class Moments(Callback):
  """Sends this process a signal `delay` seconds after the call `method` at step `step`.

  A thread does: the main one is by then in what follows that call. After `on_start` that is the
  compilation of the first step, after `on_log` the next step, or the evaluation where one is due,
  after `on_save` the writing.
  """

  def __init__(self) -> None:
    self._fault: dict[str, Any] = json.loads(os.environ.get(VARIABLE, '{}'))
    if jax.process_index() not in self._fault.get('processes', ()):
      self._fault = {}

  def on_start(self, step: int, scores: Mapping[int, float]) -> None:
    self._called('on_start', step)

  def on_log(self, step: int, values: Mapping[str, float]) -> None:
    self._called('on_log', step)

  def on_save(self, step: int) -> None:
    self._called('on_save', step)

  def _called(self, method: str, step: int) -> None:
    if (method, step) == (self._fault.get('method'), self._fault.get('step')):
      timer = threading.Timer(self._fault['delay'], self._strike)
      timer.daemon = True
      timer.start()

  def _strike(self) -> None:
    Path(self._fault['folder'], MARK).write_text(str(time.time()))
    os.kill(os.getpid(), self._fault['signal'])
