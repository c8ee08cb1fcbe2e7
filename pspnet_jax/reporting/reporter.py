"""Reports a run: to a person on the console, and to files for later.

`metrics.jsonl` holds one JSON object a line: `step`, `time` (seconds since 1970) and the scalars;
values that are not finite are null. TensorBoard's event files lie beside it.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import SupportsFloat

import numpy as np
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from pspnet_jax.errors import UserError
from pspnet_jax.reporting.console import (
  Cell,
  format_left,
  format_line,
  log_records_on,
  make_console,
  print_table,
  say,
)
from pspnet_jax.reporting.run_files import RunFiles

_log = logging.getLogger(__name__)


class _Narrower:
  """Something with room behind it for the ^C of a terminal, which else breaks it."""

  def __init__(self, what: RenderableType):
    self._what = what

  def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
    yield from console.render(self._what, options.update(width=options.max_width - len('^C') - 1))


class _Progress(Progress):
  def get_renderables(self) -> Iterator[RenderableType]:
    return map(_Narrower, super().get_renderables())


class Reporter:
  """Reports a run; use it as a context manager, from one thread.

  Files are written by a thread of its own. What goes wrong there is raised by the next call that
  writes to files, or at the end.

  Args:
    workdir: where the files go; None for a console only.
    total_steps: the step at which the run ends.
    start_step: the step that the run goes on from. Records of later steps, left by a run that was
      killed, are removed from `metrics.jsonl`.
    primary: False in all processes but the first: nothing is printed or written.
    console: where to print; standard output if None.

  Raises:
    UserError: if a file cannot be written; the message names it.
  """

  def __init__(
    self,
    workdir: Path | None,
    *,
    total_steps: int,
    start_step: int = 0,
    primary: bool = True,
    console: Console | None = None,
  ):
    self.console = console or make_console()
    self._primary = primary
    self._start_step, self._total_steps = start_step, total_steps
    # Only the last lines count for the time left, so that compilation is soon forgotten.
    self._marks = collections.deque([(time.monotonic(), start_step)], maxlen=20)
    self._stack = contextlib.ExitStack()
    self._files = RunFiles(workdir, start_step) if primary and workdir is not None else None
    self._progress: Progress | None = None

  def __enter__(self) -> Reporter:
    if not self._primary:
      return self
    if self._files is not None:
      self._files.open()
    self._stack.enter_context(log_records_on(self.console))
    if self.console.is_terminal:
      self._progress = _Progress(
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn('{task.fields[left]}'),
        console=self.console,
        transient=True,
      )
      self._task = self._progress.add_task(
        '', total=self._total_steps, completed=self._start_step, left=''
      )
      self._stack.enter_context(self._progress)
    return self

  def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
    with self._stack:
      try:
        if self._files is not None:
          self._files.close()
      except UserError as e:
        if kind is None:
          raise
        _log.error('%s', e)  # what ended the run matters more

  def scalars(self, step: int, values: Mapping[str, SupportsFloat]) -> None:
    """Writes scalars to `metrics.jsonl` and TensorBoard.

    Values may be arrays still being computed: the writing thread waits for them.

    Raises:
      ValueError: if a value is named 'step' or 'time'.
      UserError: if an earlier write failed.
    """
    if reserved := {'step', 'time'} & values.keys():
      raise ValueError(f'{min(reserved)!r} is no name for a scalar: every record has one already.')
    if self._files is not None:
      self._files.scalars(step, values)

  def images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
    """Writes images, uint8 [H, W, 3], to TensorBoard.

    Raises:
      ValueError: on any other shape or dtype.
      UserError: if an earlier write failed.
    """
    for tag, image in images.items():
      if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f'{tag!r}: {image.dtype} {list(image.shape)} instead of uint8 [H, W, 3].')
    if self._files is not None:
      self._files.images(step, images)

  def text(self, step: int, tag: str, markdown: str) -> None:
    """Writes a text to TensorBoard; names from elsewhere go through `plain_text.in_markdown`.

    Raises:
      UserError: if an earlier write failed.
    """
    if self._files is not None:
      self._files.text(step, tag, markdown)

  def sync(self) -> None:
    """Waits until what was written so far outlives this process, where the files are in a bucket.

    Raises:
      UserError: if it cannot be written.
    """
    if self._files is not None:
      self._files.sync()

  def advance(self, step: int) -> None:
    """Moves the bar to `step`, if there is one; cheap enough for every step."""
    if self._progress is not None:
      self._progress.update(self._task, completed=step)

  def line(self, step: int, values: Mapping[str, SupportsFloat]) -> None:
    """Prints one line about `step`: loss, mIoU, images/s, learning rate, whatever is in `values`.

    Named as `console.format_line` says. The time left is added, where no bar shows it. Never raises
    on a console that cannot be written to.
    """
    if not self._primary:
      return
    left = self._time_left(step)
    if self._progress is not None:
      self._progress.update(self._task, completed=step, left=f'{left} left' if left else '')
      left = ''
    numbers = {name: float(value) for name, value in values.items()}
    line = format_line(step, self._total_steps, numbers, left, width=self.console.width)
    say(self.console, line)

  def say(self, message: str) -> None:
    """Prints a plain sentence."""
    if self._primary:
      say(self.console, message)

  def table(
    self,
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    *,
    title: str | None = None,
    footer: Sequence[Cell] | None = None,
  ) -> None:
    """Prints a table; see `console.print_table`."""
    if self._primary:
      print_table(self.console, columns, rows, title=title, footer=footer)

  def _time_left(self, step: int) -> str:
    if len(self._marks) == 2 and self._marks[0][1] == self._start_step:
      self._marks.popleft()
    now, rest = time.monotonic(), self._total_steps - step
    then, earlier = self._marks[0]
    self._marks.append((now, step))
    if step <= earlier or rest <= 0:
      return ''
    return format_left((now - then) / (step - earlier) * rest)
