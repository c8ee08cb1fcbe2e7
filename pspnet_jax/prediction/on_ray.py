"""Labels the images of a job in workers of Ray Data, on this machine or on a cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import queue
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
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
_ANSWERS = 60.0  # seconds a cluster may take to answer
_STORE = 256 << 20  # bytes of shared memory: what is sent are paths and rows
_QUIET = {
  'RAY_USAGE_STATS_ENABLED': '0',
  'RAY_BACKEND_LOG_LEVEL': 'fatal',
  'RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO': '0',  # workers without a GPU see what they saw before
}


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
      rows = self._mapped(ray.data.from_arrow(packed), work, about)
      for batch in _checked(rows.iter_batches(batch_size=None, batch_format='pyarrow'), check):
        for mark, fault, table in _unpacked(batch):
          yield table
          if fault:
            raise UserError(fault)
          os.unlink(mark)

  def _mapped(self, blocks: Any, work: Work, about: About) -> Any:
    import ray.data

    return blocks.map_batches(
      _Worker,
      batch_size=1,
      batch_format='pyarrow',
      zero_copy_batch=True,
      compute=ray.data.ActorPoolStrategy(size=self.workers, max_tasks_in_flight_per_actor=2),
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
      os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
      if self._changed:
        raise UserError('a worker found another network than the job began with.')
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


def _load(work: Work) -> Model:
  from pspnet_jax.runtime import compile_cache

  compile_cache.enable()
  return work.load()


def _about(work: Work) -> About | str:
  try:
    return work.about(_load(work))
  except UserError as e:
    return str(e)


@contextlib.contextmanager
def started(address: str | None, workers: int | None) -> Iterator[Cluster]:
  """Starts Ray on this machine, for this process alone, or joins a cluster; and leaves it again.

  Without an address nothing listens but on 127.0.0.1. There is no dashboard, and no statistics of
  use are sent.

  Args:
    address: HOST:PORT of a cluster that this machine belongs to.
    workers: see `Cluster`.

  Raises:
    UserError: if Ray is not installed, or the cluster does not answer within a minute.
  """
  alone = {} if address else {'RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER': '0'}  # is 127.0.0.1 then
  for name, value in (_QUIET | alone).items():
    os.environ.setdefault(name, value)
  try:
    import ray
    import ray.data
  except ImportError as e:
    raise UserError("--engine=ray needs Ray: pip install 'pspnet_jax[scale]'.") from e
  for name in ('ray', 'ray.data'):
    logging.getLogger(name).setLevel(logging.CRITICAL)
  options: dict[str, Any] = {'log_to_driver': False, 'configure_logging': False}
  if address is None:
    options |= {
      'address': 'local',
      'include_dashboard': False,
      'num_cpus': max(workers or 1, os.cpu_count() or 1),
      'object_store_memory': _STORE,
      '_node_ip_address': '127.0.0.1',
    }
  else:
    _check_answers(address)
    options['address'] = address
  try:
    with _unheard():
      ray.init(**options)
  except (ConnectionError, RuntimeError, ValueError, OSError) as e:
    raise UserError(f'Ray cannot be started: {printable(str(e).strip())}') from e
  try:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    yield Cluster(workers)
  finally:
    ray.shutdown()


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
  """Keeps from the terminal what Ray's library writes to standard error by itself."""
  sys.stderr.flush()
  before = os.dup(2)
  try:
    with open(os.devnull, 'wb') as nothing:
      os.dup2(nothing.fileno(), 2)
    yield
  finally:
    sys.stderr.flush()
    os.dup2(before, 2)
    os.close(before)


def _check_answers(address: str) -> None:
  """Raises UserError unless a cluster answers within a minute: `ray.init` may wait much longer."""
  host, _, port = address.rpartition(':')
  if not host or not port.isdecimal() or '/' in address:
    raise UserError(
      f'--address={address}: give HOST:PORT of a Ray cluster that this machine belongs to.'
    )
  try:
    socket.create_connection((host.strip('[]'), int(port)), timeout=10).close()
  except (OSError, OverflowError) as e:
    raise UserError(
      f'--address={address}: nothing answers there ({e}): start Ray on it, as by ray start --head.'
    ) from e
  code = f'import ray; ray.init(address={address!r}, log_to_driver=False); ray.shutdown()'
  try:
    tried = subprocess.run(
      [sys.executable, '-c', code], capture_output=True, text=True, timeout=_ANSWERS, check=False
    )
    said = tried.stderr.strip().rpartition('\n')[2]
  except subprocess.TimeoutExpired:
    tried, said = None, f'no answer within {_ANSWERS:g} s'
  if tried is None or tried.returncode:
    raise UserError(
      f'--address={address} cannot be joined ({printable(said)}): give the address of a cluster '
      'that this machine belongs to, with the same versions of Python and Ray.'
    )


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
