"""Trains a PSPNet.

  pspnet train --config=context_scenes --workdir=/tmp/scenes

Run again with the same workdir, it goes on from the latest checkpoint as if it had never stopped:
on a CPU bit for bit, on a GPU but for the last digits (--config.deterministic=True asks for those).
--config.KEY=VALUE changes a setting, as in --config.optimizer.base_lr=0.02.
"""

from __future__ import annotations

import contextlib
import re
import sys

from absl import flags

from pspnet_jax import cli
from pspnet_jax.config import command_line

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the command's flags; see `cli`."""
  cli.takes_config()
  cli.tells_failures(_tell_others)
  text = 'Where checkpoints and logs go, here or gs://BUCKET/FOLDER.'
  cli.define_path('workdir', None, text, required=True, in_bucket=True)
  flags.DEFINE_bool('distributed', False, 'Several processes, found from Slurm, MPI, a TPU pod ...')
  flags.DEFINE_string('coordinator', None, 'HOST:PORT of process 0, where nothing can be found.')
  flags.DEFINE_integer('num_processes', None, 'How many processes train together.')
  flags.DEFINE_integer('process_id', None, 'Which of them this one is, from 0.')
  flags.DEFINE_float('join_timeout', 300, 'Seconds to wait for all processes to come.')
  flags.DEFINE_float('peer_timeout', 60, 'Seconds within which all end when one has failed.')


def _tell_others(sentence: str, status: int) -> None:
  """Tells those that wait for this process, going by a command line that may be no good one."""
  with contextlib.suppress(Exception, KeyboardInterrupt):  # the failure itself is said already
    arguments = FLAGS.read_flags_from_files(sys.argv, force_gnu=False)[1:]
    distributed = any(re.fullmatch('--?distributed(=(true|1))?', x) for x in arguments)
    names = ('coordinator', 'num_processes', 'process_id')
    where, count, index = (command_line.value_of(arguments, name) for name in names)
    if where is not None or distributed:
      from pspnet_jax.runtime import joining

      joining.tell_failure_ahead(
        where,
        None if count is None else int(count),
        None if index is None else int(index),
        sentence,
        status,
        from_cluster=distributed,
      )


if __name__ == '__main__':  # ahead of the imports: --help does not wait for JAX
  cli.start('train', __doc__, define_flags)

import math
from pathlib import Path

import jax
import ml_collections
from clu import parameter_overview

from pspnet_jax.config import build, named
from pspnet_jax.config.overrides import as_flags
from pspnet_jax.evaluation import scoring
from pspnet_jax.reporting.reporter import Reporter
from pspnet_jax.runtime import joining, peers, storage
from pspnet_jax.runtime.plain_text import printable
from pspnet_jax.training.stop_signals import StopSignals


def train(config: ml_collections.ConfigDict, workdir: Path) -> None:
  """Trains as `config` says, into `workdir`.

  Raises:
    UserError: for whatever the user can mend; what was saved until then stays.
  """
  workdir = storage.given(workdir)
  with (
    build.run(config, workdir) as run,
    StopSignals(processes=jax.process_count(), owns_process=cli.is_command()) as stop,
    Reporter(
      workdir,
      total_steps=run.total_steps,
      start_step=run.start_step,
      primary=jax.process_index() == 0,
    ) as report,
  ):
    if (others := peers.current()) is not None:
      others.kept, others.write = run.checkpoints.kept, run.checkpoints.write
    _introduce(report, run, config)
    run.fit(report, stop)
    _conclude(report, run, config, workdir)


def _introduce(report: Reporter, run: build.Run, config: ml_collections.ConfigDict) -> None:
  shapes = run.network.param_shapes
  overview = parameter_overview.get_parameter_overview(shapes, include_stats=False)
  report.text(run.start_step, 'parameters', f'```\n{overview}\n```')
  # Indented lines are code in Markdown, whatever is in them.
  settings = ''.join(f'    {printable(line)}\n' for line in as_flags(config))
  report.text(run.start_step, 'config', settings)
  count = sum(math.prod(x.shape) for x in shapes.values())
  height, width = run.card.crop_size
  report.say(
    f'{run.card.title}, {count:,} parameters; {len(run.source):,} training images; batches of '
    f'{config.batch_size} × {height}×{width} on {run.devices} × {jax.devices()[0].device_kind}.'
  )
  for note in run.notes:
    report.say(note)


def _conclude(
  report: Reporter, run: build.Run, config: ml_collections.ConfigDict, workdir: Path
) -> None:
  scores = run.validation.scores
  if scores is not None:
    [table] = scoring.figures_of(scores, run.source.spec).tables
    report.table(table.heading, table.cells, footer=table.footer)
    report.say(scoring.summary(scores))
  best, latest = run.checkpoints.best_step, run.checkpoints.latest_step
  done = (
    f'All {run.total_steps} steps are done' if latest == run.total_steps else 'Training is done'
  )
  # What is the user's own code has to be named each time.
  model = run.card.network.get('name')
  model = f' --model={model}' if model else ''
  data = config.data.name if named.is_own(config.data.name) else None
  data = f' --config.data.name={data}' if data else ''
  evaluate, predict = cli.command('evaluate'), cli.command('predict')
  holds = f'step {latest}' + ('' if best is None else f' and the best, step {best}')
  report.say(f'{done}; {workdir} holds {holds}. Next:')
  report.say(f'  {evaluate} --workdir={workdir}{model}{data}')
  report.say(f'  {predict} --workdir={workdir}{model} --input=FILE_OR_FOLDER --output=DIR')


def main(config: ml_collections.ConfigDict) -> None:
  with joining.joined(
    FLAGS.coordinator,
    FLAGS.num_processes,
    FLAGS.process_id,
    from_cluster=FLAGS.distributed,
    timeout=FLAGS.join_timeout,
    peer_timeout=FLAGS.peer_timeout,
  ):
    train(config, FLAGS.workdir)
