"""The work of a job as one process does it: here, or in each of Ray's workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from pspnet_jax.prediction.asking import Asked, Model
from pspnet_jax.prediction.labelling import File, Outcome, label_files, made_from
from pspnet_jax.prediction.manifest import Row, name_of, text_of
from pspnet_jax.prediction.results import Results
from pspnet_jax.runtime.files import remove_leftovers


class Task(NamedTuple):
  """An image that is to be labelled."""

  path: Path
  target: Path  # of its results, below the folder of each kind
  id: str  # how the manifest calls it
  bytes: int | None  # of the file, before it was read; None if it is not there
  modified: int | None  # nanoseconds since 1970
  attempt: int = 1

  @property
  def output(self) -> str:
    """The label, below the folder of results."""
    return name_of(f'labels/{self.target.as_posix()}')


class About(NamedTuple):
  """What a process knows of the network that it has loaded."""

  made_from: str  # see `labelling.made_from`
  class_names: tuple[str, ...]
  origin: str  # in words
  notes: tuple[str, ...]


class Work(NamedTuple):
  """What is to be done with each image; it can be sent to another process.

  Attributes:
    load: loads the network.
    output: the folder of results.
    asked: what is written.
    own: whether the network is of the user's own: whose code is in no digest, so that results
      without a row are made anew.
  """

  load: Callable[[], Model]
  output: Path
  asked: Asked
  own: bool = False

  @property
  def results(self) -> Results:
    """The files that are written."""
    return Results(self.output, self.asked.kinds)

  def about(self, model: Model) -> About:
    """Says what results of this network are made from."""
    made = made_from(model, self.asked, own=self.own)
    return About(made, tuple(model.spec.class_names), model.origin, tuple(model.notes))

  def label(
    self,
    model: Model,
    tasks: Sequence[Task],
    made_from: str,
    tell: Callable[[Row], None],
    check: Callable[[], None] = lambda: None,
  ) -> None:
    """Labels images with `labelling.label_files`, and tells the row of each in turn.

    Args:
      model: what `load` returned.
      tasks: the images.
      made_from: what `about` said.
      tell: is called with each row.
      check: is called before and after each image, and may raise to end the work.
    """
    before = time.monotonic()

    def told(outcome: Outcome) -> None:
      nonlocal before
      task, now = tasks[outcome.number], time.monotonic()
      if outcome.error is not None:
        tell(failed(task, str(outcome.error)))
      else:
        seconds = None if outcome.kept else now - before
        tell(
          Row(
            task.id,
            task.output,
            outcome.area,
            seconds,
            task.bytes,
            task.modified,
            outcome.mark,
            attempts=task.attempt,
          )
        )
      before = now

    label_files(
      model,
      [File(task.path, task.target) for task in tasks],
      self.results,
      self.asked,
      made_from=made_from,
      keep=not self.own,
      tell=told,
      check=check,
    )


def failed(task: Task, why: str) -> Row:
  """Returns the row of an image that could not be labelled."""
  return Row(
    task.id,
    bytes=task.bytes,
    modified=task.modified,
    error=text_of(why),
    attempts=task.attempt,
  )


def tasks_of(paths: Sequence[Path], targets: Sequence[Path], ids: Sequence[str]) -> list[Task]:
  """Returns tasks with what is known of their files before anything is read."""
  tasks = []
  for path, target, name in zip(paths, targets, ids, strict=True):
    size, modified = None, None
    try:
      status = path.stat()
      size, modified = status.st_size, status.st_mtime_ns
    except (OSError, ValueError):  # reading it will say why
      pass
    tasks.append(Task(path, target, name_of(name), size, modified))
  return tasks


def remove_parts_of(tasks: Sequence[Task], results: Results) -> None:
  """Removes the halves of files that a killed process left beside results of these tasks."""
  targets = {task.target.parent for task in tasks}
  for folder in {results.path(kind, x / 'x.png').parent for kind in results.kinds for x in targets}:
    remove_leftovers(folder)
