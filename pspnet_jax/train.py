"""Trains a PSPNet.

  pspnet train --config=context_scenes --workdir=/tmp/scenes

Run again with the same workdir, it goes on from the latest checkpoint, bit for bit as if it had
never stopped. --config.KEY=VALUE changes a setting, as in --config.optimizer.base_lr=0.02.
"""

from __future__ import annotations

from absl import flags

from pspnet_jax import cli

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the command's flags; see `cli`."""
  cli.takes_config()
  flags.DEFINE_string('workdir', None, 'Where checkpoints and logs go.', required=True)
  flags.DEFINE_bool('distributed', False, 'Several processes, found from Slurm, MPI, a TPU pod ...')
  flags.DEFINE_string('coordinator', None, 'HOST:PORT of process 0, where nothing can be found.')
  flags.DEFINE_integer('num_processes', None, 'How many processes train together.')
  flags.DEFINE_integer('process_id', None, 'Which of them this one is, from 0.')


if __name__ == '__main__':  # ahead of the imports: --help does not wait for JAX
  cli.start('train', __doc__, define_flags)

import contextlib
import math
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from clu import parameter_overview

from pspnet_jax.config import build, files
from pspnet_jax.data.loader import train_batches
from pspnet_jax.data.skip_bad import SkipBadExamples
from pspnet_jax.data.spec import Example, Source
from pspnet_jax.errors import Stopped, UserError
from pspnet_jax.evaluation import scoring
from pspnet_jax.evaluation.metrics import Scores
from pspnet_jax.inference.card import Card
from pspnet_jax.inference.engine import Inference
from pspnet_jax.models.network import Arrays, Network
from pspnet_jax.pictures.labels import panel
from pspnet_jax.reporting.reporter import Reporter
from pspnet_jax.runtime import parallel
from pspnet_jax.training.init_from import start_from
from pspnet_jax.training.step import TrainMetrics, TrainState, jit_options, make_train_step
from pspnet_jax.training.stop_signals import StopSignals
from pspnet_jax.weights.checkpoints import Checkpoints


def train(config: ml_collections.ConfigDict, workdir: Path) -> None:
  """Trains as `config` says, into `workdir`.

  Raises:
    UserError: for whatever the user can mend; what was saved until then stays.
  """
  c = config
  mesh = parallel.make_mesh()
  on_mesh = parallel.replicated(mesh)
  parallel.check_batch_size(c.batch_size, mesh, c.accumulation_steps)

  # Data first: most mistakes are there, and they show at once.
  train_source, val_source = (build.open_split(c, split) for split in ('train', 'val'))
  tolerant = SkipBadExamples(train_source) if c.data_errors == 'skip' else None
  augment = build.make_augment(c)
  card = build.make_card(c, train_source.spec)
  network = Network(**card.network)
  schedule, tx = build.make_optimizer(c, network.param_shapes)
  train_step = make_train_step(network, tx, **build.step_options(c))
  train_step = jax.jit(train_step, out_shardings=on_mesh, **jit_options(network))
  inference = build.make_inference(c, network, card)

  def new_state() -> TrainState:
    return TrainState.create(network, tx, seed=c.seed, ema_decay=c.ema_decay)

  def new_metrics() -> TrainMetrics:
    return jax.device_put(TrainMetrics.zeros(train_source.spec.num_classes), on_mesh)

  # The latest checkpoint if there is one, else a new network or the weights to start from.
  primary = jax.process_index() == 0
  files.make_workdir(workdir)
  checkpoints = Checkpoints(workdir)
  notes: list[str] = []
  if checkpoints.latest_step is None:
    state = new_state()
    if c.init_from:
      params, batch_stats, notes = start_from(c.init_from, card, state.params, state.batch_stats)
      state = state.with_weights(params, batch_stats)
    state = jax.device_put(state, on_mesh)
  else:
    step, items = checkpoints.restore(jax.eval_shape(new_state).items(), on_mesh)
    state = jax.device_put(TrainState.from_items(step, items), on_mesh)
  start_step = int(state.step)
  changes = files.keep_config(c, workdir) if primary else []
  batches = train_batches(
    train_source if tolerant is None else tolerant,
    transform=augment,
    batch_size=c.batch_size,
    seed=c.seed,
    start_step=start_step,
    process_index=jax.process_index(),
    process_count=jax.process_count(),
    threads=c.threads or None,
    choose=build.make_choice(c, train_source, workdir),
  )
  with (
    contextlib.closing(batches),
    contextlib.closing(checkpoints),
    StopSignals(listen=jax.process_count() == 1) as stop,
    Reporter(workdir, total_steps=c.total_steps, start_step=start_step, primary=primary) as report,
  ):
    _introduce(report, c, network, len(train_source), mesh.size)
    for note in notes:
      report.say(note)
    if start_step:
      report.say(f'Going on from step {start_step}.' + ''.join(f'\n  {x}' for x in changes))
    scores = None
    metrics, reported_step, reported_time = new_metrics(), start_step, time.monotonic()
    stream = parallel.prefetch(batches, mesh)
    for step in range(start_step + 1, c.total_steps + 1):
      with _saved_on_error(checkpoints, state, card):
        batch = next(stream)
      state, metrics = train_step(state, metrics, batch)
      report.advance(step)
      stopping = stop.requested or checkpoints.preempted(step)
      evaluating = step == c.total_steps or _due(step, c.eval_every)
      saving = evaluating or stopping or _due(step, c.checkpoint_every)
      if not saving and not _due(step, c.log_every):
        continue

      # Here alone the host waits for the device.
      values = _training_values(metrics)
      seconds = time.monotonic() - reported_time
      values['images_per_second'] = (step - reported_step) * c.batch_size / seconds
      values['learning_rate'] = float(schedule(step - 1))
      if tolerant is not None:
        values['train/skipped_examples'] = _over_processes(tolerant.replaced)
      report.scalars(step, values)
      report.line(step, {name: x for name, x in values.items() if name not in _PARTS})
      healthy = math.isfinite(values['train/loss']) and (not saving or _all_finite(state.params))
      if not healthy:
        raise UserError(_not_finite(reported_step, step, checkpoints))
      if saving:
        scores = None
        if evaluating and not stopping:
          # Cut short by a signal, it leaves the checkpoint to be saved without a score.
          with _saved_on_error(checkpoints, state, card), contextlib.suppress(Stopped):
            scores = _evaluate(report, c, inference, state, val_source, step, stop)
        checkpoints.save(step, state.items(), card, _score(scores))
        if stopping or stop.requested:
          checkpoints.wait()
          reason = stop.received or signal.SIGTERM
          raise Stopped(
            f'{reason.name}: step {step} of {c.total_steps} is saved; run the same command to go '
            'on from there.',
            reason,
          )
      metrics, reported_step, reported_time = new_metrics(), step, time.monotonic()
    checkpoints.wait()
    if start_step == c.total_steps and not checkpoints.has_score(start_step):
      scores = _evaluate(report, c, inference, state, val_source, start_step, stop)
    _conclude(report, c, checkpoints, scores, train_source, workdir)


def _over_processes(count: int) -> int:
  return int(parallel.sum_over_processes(np.array([count], np.int64))[0])


_PARTS = ('train/main_loss', 'train/aux_loss')  # of the loss: for the files, not the console


@contextlib.contextmanager
def _saved_on_error(checkpoints: Checkpoints, state: TrainState, card: Card) -> Iterator[None]:
  """Keeps what was learnt when something outside of training fails, such as an image's decoding."""
  try:
    yield
  except Exception:
    if int(state.step) and _all_finite(state.params):
      checkpoints.save(int(state.step), state.items(), card)
      checkpoints.wait()
    raise


def _score(scores: Scores | None) -> float | None:
  """What the best checkpoint is chosen by; None where no pixel was labelled."""
  return None if scores is None or math.isnan(scores.miou) else scores.miou


def _due(step: int, every: int) -> bool:
  return every > 0 and step % every == 0


def _training_values(metrics: TrainMetrics) -> dict[str, float]:
  losses = {n: getattr(metrics, n).compute() for n in ('loss', 'main_loss', 'aux_loss')}
  values = {f'train/{name}': float(value) for name, value in losses.items()}
  return values | {'train/mIoU': Scores(metrics.confusion.compute()).miou}


@jax.jit
def _all_finite(params: Arrays) -> jax.Array:
  return jnp.stack([jnp.isfinite(x).all() for x in jax.tree.leaves(params)]).all()


def _not_finite(since: int, step: int, checkpoints: Checkpoints) -> str:
  checkpoints.wait()
  latest = checkpoints.latest_step
  kept = f'the checkpoint of step {latest} is sound' if latest is not None else 'none was saved yet'
  return (
    f'the loss or a parameter stopped being finite between steps {since + 1} and {step}; {kept}: '
    'lower config.optimizer.base_lr and run the command again.'
  )


def _evaluate(
  report: Reporter,
  c: ml_collections.ConfigDict,
  inference: Inference,
  state: TrainState,
  source: Source,
  step: int,
  stop: StopSignals,
) -> Scores:
  """Scores the parameters that would be used: the moving average, where one is kept."""
  params = state.params if state.ema_params is None else state.ema_params
  pictures = {}

  def keep_picture(index: int, example: Example, prediction: np.ndarray) -> None:
    picture = panel(example['image'], example['label'], prediction, source.spec)
    pictures[f'val/{index}'] = picture

  confusion = scoring.confusion_matrix(
    inference,
    parallel.local_view(params),
    parallel.local_view(state.batch_stats),
    source,
    threads=c.threads or None,
    on_label=keep_picture,
    pictures=c.pictures,
    on_progress=lambda _: stop.check(),
    skip_bad=c.data_errors == 'skip',
  )
  scores = Scores(confusion, inference.card.protocol.absent_classes)
  values = {'val/mIoU': scores.miou, 'val/mAcc': scores.macc, 'val/aAcc': scores.aacc}
  report.scalars(step, values)
  report.images(step, pictures)
  report.line(step, values)
  return scores


def _introduce(
  report: Reporter, c: ml_collections.ConfigDict, network: Network, images: int, devices: int
) -> None:
  shapes = network.param_shapes
  overview = parameter_overview.get_parameter_overview(shapes, include_stats=False)
  report.text(0, 'parameters', f'```\n{overview}\n```')
  count = sum(math.prod(x.shape) for x in shapes.values())
  report.say(
    f'PSPNet-{c.model.depth}, {count:,} parameters; {images:,} training images; batches of '
    f'{c.batch_size} × {c.crop_size[0]}×{c.crop_size[1]} on {devices} × '
    f'{jax.devices()[0].device_kind}.'
  )


def _conclude(
  report: Reporter,
  c: ml_collections.ConfigDict,
  checkpoints: Checkpoints,
  scores: Scores | None,
  source: Source,
  workdir: Path,
) -> None:
  if scores is not None:
    [table] = scoring.figures_of(scores, source.spec).tables
    report.table(table.heading, table.cells, footer=table.footer)
    report.say(scoring.summary(scores))
  best = checkpoints.step('best')
  # The way this command was started is the way that works for the next.
  python = Path(sys.executable)
  here = python.is_relative_to(Path.cwd())
  run = f'{python.relative_to(Path.cwd()) if here else "python"} -m pspnet_jax'
  report.say(
    f'All {c.total_steps} steps are done; {workdir} holds step {checkpoints.latest_step} and the '
    f'best, step {best}. Next:\n'
    f'  {run}.evaluate --workdir={workdir}\n'
    f'  {run}.predict --workdir={workdir} --input=FILE_OR_FOLDER --output=DIR'
  )


def main(config: ml_collections.ConfigDict) -> None:
  parallel.join_processes(
    FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_id, from_cluster=FLAGS.distributed
  )
  train(config, Path(FLAGS.workdir))
