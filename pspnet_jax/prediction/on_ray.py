"""Labels the images of a job in workers of Ray Data, on this machine or on a cluster."""

from __future__ import annotations

import os
import pickle
import queue
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pspnet_jax.errors import UserError
from pspnet_jax.prediction.asking import Model
from pspnet_jax.prediction.manifest import Row, table_of
from pspnet_jax.prediction.work import About, Task, Work, failed, remove_parts_of
from pspnet_jax.runtime import shortages
from pspnet_jax.runtime.plain_text import printable

if TYPE_CHECKING:
  import pyarrow as pa

ATTEMPTS = 3  # workers that an image may end
_BLOCK = 64  # images a worker gets at once, at most: what it does twice if it is killed


class Cluster:
  """Workers of Ray, each with a network of its own.

  Args:
    workers: how many; None has one a GPU or, without any, one a machine.

  Raises:
    UserError: if there are fewer GPUs than workers.
  """

  def __init__(self, workers: int | None):
    import ray

    resources = ray.cluster_resources()
    gpus = 0 if os.environ.get('JAX_PLATFORMS') == 'cpu' else int(resources.get('GPU', 0))
    machines = sum(1 for node in ray.nodes() if node['Alive'] and node['Resources'].get('CPU'))
    self.workers = workers or gpus or max(1, machines)
    most, what = (gpus, 'GPU') if gpus else (int(resources.get('CPU', 0)), 'CPU')
    if self.workers > most:
      raise UserError(
        f'--workers={self.workers}: Ray has {most} {what}(s), of which each worker takes one.'
      )
    self._takes: dict[str, Any] = {'num_cpus': 0 if gpus else 1, 'num_gpus': int(gpus > 0)}

  def about(self, work: Work) -> About:
    """Has a worker load the network, and returns what it knows of it.

    Raises:
      UserError: what loading it says, or that the worker ended.
    """
    import ray

    look = ray.remote(max_calls=1, max_retries=ATTEMPTS - 1, **self._takes)(_about)
    try:
      found = ray.get(look.remote(work))
    except ray.exceptions.RayError as e:
      raise UserError(f'a worker of Ray ended while it loaded the network: {_cause(e)}.') from e
    if isinstance(found, str):
      raise UserError(found)
    return found

  def label(
    self,
    work: Work,
    about: About,
    tasks: Sequence[Task],
    tell: Callable[[pa.Table], None],
    check: Callable[[], None],
  ) -> None:
    """Labels images, and tells rows as they come.

    What a worker had that was killed is done again by others, image by image, so that one that
    kills its workers takes no others with it; after the third it is a row with an error.

    Args:
      work: what is done with each.
      about: what `about` returned.
      tasks: the images.
      tell: is called with rows.
      check: is called twice a second, and may raise to end the work.
    """
    import ray

    for folder in work.output.glob('.begun-*'):  # of a process that was killed
      shutil.rmtree(folder, ignore_errors=True)
    left = {task.id: task for task in tasks}
    size = max(1, min(_BLOCK, len(tasks) // (4 * self.workers)))
    try:
      for attempt in range(1, ATTEMPTS + 1):
        waiting = [task._replace(attempt=attempt) for task in left.values()]
        blocks = [waiting[i : i + size] for i in range(0, len(waiting), size)]
        for table in self._rows(work, about, blocks, check):
          for name in table['path'].to_pylist():
            del left[name]
          tell(table)
        if not left:
          return
        remove_parts_of([*left.values()], work.results)
        size = 1
    except ray.exceptions.RayError as e:
      raise UserError(f'Ray ended the work ({_cause(e)}): the same command goes on.') from e
    why = f'each of {ATTEMPTS} workers ended that was given the image: label it by itself.'
    lost = [
      failed(task._replace(attempt=ATTEMPTS), f'{task.path} was not labelled: {why}')
      for task in left.values()
    ]
    tell(table_of(lost, about.class_names))

  def _rows(
    self, work: Work, about: About, blocks: Sequence[Sequence[Task]], check: Callable[[], None]
  ) -> Iterator[pa.Table]:
    """Yields the rows of blocks as they are done; those of a worker that is killed are missing.

    Ray gives a block that a worker had to another one, for ever. So a worker makes a file when it
    begins, and whoever is given the same leaves it for the next attempt.
    """
    import ray.data

    with tempfile.TemporaryDirectory(
      prefix='.begun-', dir=work.output, ignore_cleanup_errors=True
    ) as begun:
      # A row is a block of ours, and a block of Ray's holds one: what is lost with a worker is as
      # little as that.
      packed = [_packed(os.path.join(begun, str(i)), block) for i, block in enumerate(blocks)]
      workers = min(self.workers, len(blocks))
      rows = self._mapped(ray.data.from_arrow(packed), workers, work, about)
      for batch in _checked(rows.iter_batches(batch_size=None, batch_format='pyarrow'), check):
        for mark, fault, table in _unpacked(batch):
          yield table
          if fault:
            raise UserError(fault)
          Path(mark).unlink(missing_ok=True)

  def _mapped(self, blocks: Any, workers: int, work: Work, about: About) -> Any:
    import ray.data

    return blocks.map_batches(
      _Worker,
      batch_size=1,
      batch_format='pyarrow',
      compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=2),
      fn_constructor_args=(work, about),
      **self._takes,
    )


class _Worker:
  """A process with a network, which labels blocks of images."""

  def __init__(self, work: Work, about: About):
    self._work, self._about = work, about
    self._model = _load(work)
    self._changed = work.about(self._model).made_from != about.made_from

  def __call__(self, batch: pa.Table) -> pa.Table:
    [(mark, tasks)] = _unpacked(batch)
    rows: list[Row] = []
    fault = ''
    try:
      _begin(mark)
      if self._changed:
        raise UserError(
          'a worker has another network than the job began with, or another kind of device.'
        )
      self._work.label(self._model, tasks, self._about.made_from, rows.append)
    except FileExistsError:  # whoever had begun was killed
      pass
    except UserError as e:  # no fault of one image: as that nothing can be written
      fault = str(e)
    except Exception as e:
      if len(tasks) == 1:  # else each will be given alone
        why = shortages.sentence(e) or f'{type(e).__name__}: {e}'
        rows = [failed(tasks[0], f'{tasks[0].path} was not labelled: {why}')]
    return _packed(mark, fault, table_of(rows, self._about.class_names))


def _packed(*what: Any) -> pa.Table:
  """One row with anything in it: Ray would change the types of a table's columns."""
  import pyarrow as pa

  return pa.table({'packed': pa.array([pickle.dumps(what)], pa.large_binary())})


def _unpacked(table: pa.Table) -> Iterator[Any]:
  return (pickle.loads(x) for x in table['packed'].to_pylist())


def _begin(mark: str) -> None:
  """Makes a file that says that somebody began.

  Raises:
    FileExistsError: if somebody has.
    UserError: if it cannot be made.
  """
  try:
    os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
  except FileExistsError:
    raise
  except OSError as e:
    folder = Path(mark).parent.parent
    raise UserError(
      f'{folder} cannot be written to on {socket.gethostname()} ({e.strerror}): give an --output '
      'that all machines share.'
    ) from e


def _load(work: Work) -> Model:
  from pspnet_jax.runtime import compile_cache

  compile_cache.enable()
  return work.load()


def _about(work: Work) -> About | str:
  try:
    return work.about(_load(work))
  except UserError as e:
    return str(e)


def _checked(batches: Any, check: Callable[[], None]) -> Iterator[pa.Table]:
  """Yields what an iterator yields, and calls `check` twice a second while it has nothing."""
  found: queue.Queue[Any] = queue.Queue()
  end = object()

  def pull() -> None:
    try:
      for batch in batches:
        found.put(batch)
      found.put(end)
    except BaseException as e:  # raised where it is waited for
      found.put(e)

  threading.Thread(target=pull, name='rows', daemon=True).start()
  while True:
    check()
    try:
      item = found.get(timeout=0.5)
    except queue.Empty:
      continue
    if item is end:
      return
    if isinstance(item, BaseException):
      raise item
    yield item


def _cause(error: BaseException) -> str:
  """What an error of Ray's says, in one line."""
  text = str(error).strip()
  return printable(text.rpartition('\n')[2].strip().rstrip('.') or type(error).__name__)
