"""Labels very many images, through every interruption, and writes a manifest of them.

  pspnet batch-predict --workdir=DIR --input=WHICH --output=OUT --engine=ray

Writes OUT/labels/NAME.png, as predict does, and OUT/manifest.parquet: a row an image. The same
command goes on where one was ended, killed or not. --config.eval.KEY=VALUE changes the protocol.
"""

from __future__ import annotations

from absl import flags

from pspnet_jax import cli

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the command's flags; see `cli`."""
  cli.takes_protocol()
  cli.define_network_flags(several=True)
  cli.define_path(
    'input',
    None,
    "A folder, a pattern such as 'in/**/*.jpg', or a .txt, .csv or .parquet with a column path.",
    required=True,
  )
  cli.define_path('output', None, 'Where the labels go.', required=True)
  flags.DEFINE_bool('overlays', False, 'Writes OUT/overlays/NAME.png too.')
  flags.DEFINE_bool('confidence', False, 'Writes OUT/confidence/NAME.png too.')
  flags.DEFINE_bool('probabilities', False, 'Writes OUT/probabilities/NAME.npz too.')
  flags.DEFINE_float('min_confidence', 0.0, 'Pixels of lower probability get 255, no class.')
  flags.DEFINE_enum('engine', 'local', ['local', 'ray'], 'This process, or workers of Ray.')
  flags.DEFINE_string('address', None, 'HOST:PORT of a Ray cluster; else this machine alone.')
  flags.DEFINE_integer('workers', None, 'Of Ray; else one a GPU or, without any, one a machine.')


if __name__ == '__main__':  # ahead of the imports: --help does not wait for JAX
  cli.start('batch_predict', __doc__, define_flags)


import contextlib
import functools
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal

from pspnet_jax import predictor
from pspnet_jax.data.image_files import counted
from pspnet_jax.errors import Stopped, UserError
from pspnet_jax.pictures.file_names import png_names
from pspnet_jax.prediction import listing, on_ray, ray_session
from pspnet_jax.prediction.asking import Asked
from pspnet_jax.prediction.jobs import Job
from pspnet_jax.prediction.manifest import table_of
from pspnet_jax.prediction.results import KINDS, set_apart
from pspnet_jax.prediction.work import About, Task, Work, remove_parts_of, tasks_of
from pspnet_jax.reporting.reporter import Reporter
from pspnet_jax.runtime import storage
from pspnet_jax.runtime.paths import given
from pspnet_jax.training.stop_signals import StopSignals
from pspnet_jax.weights.folders import Location
from pspnet_jax.weights.loaded import Which

if TYPE_CHECKING:
  import pyarrow as pa

_FAILURES_SHOWN = 20
_LINE_SECONDS = 60.0  # between two lines about how far it is

_Label = Callable[[Sequence[Task], Callable[['pa.Table'], None], Callable[[], None]], None]


def batch_predict(
  workdir: Location | Sequence[Location],
  images: Path,
  output: Path,
  *,
  which: Which = 'best',
  overlays: bool = False,
  confidence: bool = False,
  probabilities: bool = False,
  min_confidence: float = 0.0,
  engine: Literal['local', 'ray'] = 'local',
  address: str | None = None,
  workers: int | None = None,
  **options: Any,
) -> None:
  """Labels images as `predict` does, each once, and writes a manifest with a row for each.

  Args:
    workdir: of a network, as `predictor.load` takes it, or of several that label together.
    images: what `listing.read` takes.
    output: the folder of the results; see `jobs.Job`.
    which: the checkpoint.
    overlays, confidence, probabilities: whether to write those folders.
    min_confidence: pixels of lower probability are labelled 255.
    engine: 'local' labels in this process, 'ray' in workers of Ray.
    address, workers: of Ray; see `ray_session.started` and `on_ray.Cluster`.
    **options: of `predictor.load`.

  Raises:
    UserError: for whatever the user can mend, and after all others for images that could not be
      labelled; what was written until then stays.
  """
  if not 0 <= min_confidence <= 1:
    raise UserError(f'--min_confidence={min_confidence:g}: give a probability from 0 to 1.')
  if engine != 'ray' and (address is not None or workers is not None):
    raise UserError('--address and --workers are of Ray: give --engine=ray with them.')
  if workers is not None and workers < 1:
    raise UserError(f'--workers={workers}: give 1 or more.')
  # Workers may be started in another folder; they open an address themselves.
  workdirs = [workdir] if isinstance(workdir, str | PurePath) else workdir
  workdirs = [
    str(x) if storage.is_address(x) else Path(os.path.abspath(storage.given(x))) for x in workdirs
  ]
  images, output = (Path(os.path.abspath(given(x))) for x in (images, output))
  found = listing.read(images)
  tasks = _tasks(found, images, output)
  wanted = {'labels': True, 'overlays': overlays, 'confidence': confidence}
  wanted['probabilities'] = probabilities
  kinds = tuple(kind for kind in KINDS if wanted.get(kind))
  load = functools.partial(predictor.load, workdirs, which=which, **options)
  work = Work(load, output, Asked(kinds, False, min_confidence), options.get('model') is not None)
  with contextlib.ExitStack() as stack:
    job = stack.enter_context(Job(output))
    stop = StopSignals(after='the images at hand', owns_process=cli.is_command())
    about, label = _started(work, engine, address, workers, stack)
    job.begin(about.made_from, about.class_names)
    left = job.left(tasks, work.results)
    work.results.check([task.path for task in left], [task.target for task in left])
    remove_parts_of(left, work.results)
    with Reporter(None, total_steps=len(left)) as report:
      for sentence in (f'Labelling with {about.origin}.', *about.notes, *_aside(found, tasks)):
        report.say(sentence)
      if done := len(tasks) - len(left):
        report.say(f'{done:,} of {len(tasks):,} image(s) are done already.')
      run = _Run(job, report, len(left))
      try:
        with stop:
          if left:
            label(left, run.tell, stop.check)
      except (KeyboardInterrupt, Stopped) as e:
        raise Stopped(
          f'interrupted after {done + run.done:,} of {len(tasks):,} images, and '
          f'their labels are in {output}: the same command goes on.',
          stop.received or signal.SIGINT,
        ) from e
      dropped = job.finish(tasks)
      if dropped:
        report.say(f'{dropped:,} row(s) left out, of images that are no longer in {images}.')
      run.say()
      report.say(f'{output / "manifest.parquet"} has a row for each of {len(tasks):,} image(s).')
  if run.failures:
    raise UserError(
      f'{run.failures:,} of {len(tasks):,} images could not be labelled: mend or remove them.'
    )


def _tasks(found: listing.Listing, images: Path, output: Path) -> list[Task]:
  """What is to be labelled: all but the results of earlier runs."""
  paths, earlier = set_apart(found.paths, found.root, output)
  if not paths:
    raise UserError(f'{images} holds no image but results in {output}: give another --input.')
  results = {*earlier}
  kept = [i for i, path in enumerate(found.paths) if path not in results]
  targets = png_names([found.names[i] for i in kept])
  return tasks_of(paths, targets, [found.ids[i] for i in kept])


def _aside(found: listing.Listing, tasks: Sequence[Task]) -> Iterator[str]:
  if found.left_aside:
    yield f'{len(found.left_aside):,} file(s) left aside: {counted(found.left_aside)}.'
  if results := len(found.paths) - len(tasks):
    yield f'{results:,} image(s) left aside, as results of an earlier run.'


def _started(
  work: Work,
  engine: str,
  address: str | None,
  workers: int | None,
  stack: contextlib.ExitStack,
) -> tuple[About, _Label]:
  """Loads the network, here or in workers, and returns what it is and what labels with it."""
  if engine == 'ray':
    stack.enter_context(ray_session.started(address, workers))
    cluster = on_ray.Cluster(workers)
    about = cluster.about(work)
    return about, lambda tasks, tell, check: cluster.label(work, about, tasks, tell, check)
  model = work.load()
  about = work.about(model)

  def label(
    tasks: Sequence[Task], tell: Callable[[pa.Table], None], check: Callable[[], None]
  ) -> None:
    work.label(
      model,
      tasks,
      about.made_from,
      lambda row: tell(table_of([row], about.class_names)),
      check,
    )

  return about, label


class _Run:
  """What has happened since the command was started."""

  def __init__(self, job: Job, report: Reporter, total: int):
    self._job, self._report, self._total = job, report, total
    self.done = self.failures = self._kept = self._again = 0
    self._sentences: list[str] = []
    self._begun = self._said = time.monotonic()

  def tell(self, table: pa.Table) -> None:
    """Takes rows."""
    self._job.add(table)
    columns = (table[x].to_pylist() for x in ('error', 'seconds', 'attempts'))
    for error, seconds, attempts in zip(*columns, strict=True):
      self.failures += error is not None
      if error is not None and len(self._sentences) < _FAILURES_SHOWN:
        self._sentences.append(error)
      self._kept += error is None and seconds is None and attempts == 1
      self._again += attempts > 1
    self.done += len(table)
    self._report.advance(self.done)
    now = time.monotonic()
    if now - self._said > _LINE_SECONDS:
      self._said = now
      rate = self.done / (now - self._begun)
      self._report.say(f'{self.done:,} of {self._total:,} image(s), {rate:.1f} images/s.')

  def say(self) -> None:
    """Says it, at the end."""
    report, seconds = self._report, time.monotonic() - self._begun
    if not self.done:
      report.say('All are done: there is nothing left to label.')
      return
    labelled = self.done - self._kept - self.failures
    if self._kept:
      report.say(f'{self._kept:,} label(s) were there, without a row, and are kept.')
    again = f', {self._again:,} given to a worker again' if self._again else ''
    report.say(
      f'{labelled:,} image(s) labelled in {seconds:.1f} s, {labelled / seconds:.1f} images/s; '
      f'{self.failures:,} failed{again}.'
    )
    for sentence in self._sentences:
      report.say(sentence)
    if more := self.failures - len(self._sentences):
      report.say(f'... and {more:,} more.')


def main() -> None:
  batch_predict(
    FLAGS.workdir,
    Path(FLAGS.input),
    Path(FLAGS.output),
    which=cli.which_checkpoint(FLAGS.checkpoint),
    ema=FLAGS.ema,
    model=FLAGS.model,
    overlays=FLAGS.overlays,
    confidence=FLAGS.confidence,
    probabilities=FLAGS.probabilities,
    min_confidence=FLAGS.min_confidence,
    engine=FLAGS.engine,
    address=FLAGS.address,
    workers=FLAGS.workers,
    **cli.protocol_options(),
  )
