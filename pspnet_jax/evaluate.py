"""Evaluates a trained PSPNet on the validation split.

  pspnet evaluate --workdir=/tmp/scenes

The data are those of the run, or of --config=FILE.py. The protocol is the checkpoint's, unless a
flag changes it: --config.eval.protocol=semseg, --config.eval.scales=0.5,0.75,1,1.25,1.5,1.75,
--config.eval.flip=True; docs/evaluation.md has them all.
"""

from __future__ import annotations

from absl import flags

from pspnet_jax import cli

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the command's flags; see `cli`."""
  cli.takes_config()
  cli.define_network_flags()


if __name__ == '__main__':  # ahead of the imports: --help does not wait for JAX
  cli.start('evaluate', __doc__, define_flags)

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import ml_collections
from flax import nnx

from pspnet_jax.config import checks, named, parts
from pspnet_jax.data.identity import identity
from pspnet_jax.data.spec import Source
from pspnet_jax.errors import Stopped, UserError
from pspnet_jax.evaluation import result_files, scoring
from pspnet_jax.evaluation.metrics import Scores
from pspnet_jax.evaluation.partial_scores import PartialScores
from pspnet_jax.evaluation.result_files import Shown
from pspnet_jax.inference.card import Card
from pspnet_jax.models.network import Network
from pspnet_jax.reporting.reporter import Reporter
from pspnet_jax.runtime.files import refuse_links, remove_leftovers
from pspnet_jax.runtime.folder_lock import FolderLock
from pspnet_jax.runtime.paths import given
from pspnet_jax.training.stop_signals import StopSignals
from pspnet_jax.weights.checkpoints import Checkpoints, Which


def evaluate(
  config: ml_collections.ConfigDict,
  workdir: Path,
  which: Which = 'best',
  changes: Mapping[str, Any] | None = None,
  model: type[nnx.Module] | None = None,
  *,
  ema: bool = True,
) -> Scores:
  """Prints the scores of a checkpoint, and writes them and pictures to `workdir/evaluation`.

  Interrupted, it goes on where it stopped when it is called again with the same arguments.

  Args:
    config: says which data, and how scores are counted.
    workdir: of a run or a conversion. Network, pixels and protocol are those of its card.
    which: the checkpoint.
    changes: to the card's protocol; see `protocol.Protocol.changed`.
    model: the network's class where it is no PSPNet.
    ema: whether the moving average of the parameters is evaluated, where the run kept one.

  Raises:
    UserError: for whatever the user can mend.
  """
  workdir = given(workdir)
  checkpoints = Checkpoints(workdir, read_only=True)
  source = parts.open_split(config, 'val')

  def build(card: Card) -> Network:
    _check_classes(card, source)
    return card.build_network(model)

  with checkpoints:
    found = checkpoints.load(which, build, ema=ema)
  card = dataclasses.replace(found.card, protocol=found.card.protocol.changed(**(changes or {})))
  inference = parts.make_inference(config, cast('Network', found.network), card)
  weights = inference.prepare(found.params, found.batch_stats)

  folder = workdir / 'evaluation'
  title = f'step {found.step} of {workdir}{found.kind}, {len(source):,} images'
  how = card.protocol.describe(card.crop_size)
  # Counts go on only if nothing has changed that they depend on.
  data = {'config': config.data.to_dict(), 'source': identity(source)}
  question = {'weights': found.digest, 'card': card.to_json(), 'data': data}
  with (
    FolderLock(folder, 'is in use by {holder}: wait for its end.'),
    Reporter(None, total_steps=len(source)) as report,
    StopSignals(after='this image') as stop,
  ):
    remove_leftovers(folder)
    refuse_links(folder, [path.name for path in folder.iterdir() if not path.is_dir()])
    partial = PartialScores(folder / 'unfinished.npz', question, source.spec.num_classes)
    report.say(f'Evaluating {title}: {how}.')
    for note in getattr(source, 'notes', ()):  # what it left out
      report.say(note)
    if partial.done:
      report.say(f'{partial.done:,} images were counted before: going on from there.')

    def progress(done: int) -> None:
      report.advance(done)
      stop.check()

    try:
      confusion = scoring.confusion_matrix(
        inference,
        weights,
        source,
        threads=config.threads or None,
        on_progress=progress,
        skip_bad=config.data_errors == 'skip',
        partial=partial,
      )
    except Stopped as e:
      raise Stopped(
        f'stopped after {partial.done:,} of {len(source):,} images: the same command goes on '
        'from there.',
        stop.received or e.status - 128,
      ) from e
    scoring.check_labelled(confusion, len(source))
    scores = Scores(confusion, card.protocol.absent_classes)
    [table] = scoring.figures_of(scores, source.spec).tables
    report.table(table.heading, table.cells, footer=table.footer)
    report.say(scoring.summary(scores))

    def show(indices: list[int]) -> list[Shown]:
      usable = [index for index in indices if index in partial.image_iou]
      pairs = scoring.label_examples(inference, weights, source, usable)
      return [Shown(*pair, partial.image_iou[i]) for i, pair in zip(usable, pairs, strict=True)]

    result_files.write(
      folder,
      scores,
      source.spec,
      {'title': title, 'protocol': dataclasses.asdict(card.protocol)},
      typical=show(scoring.spread(len(source), config.pictures)),
      worst=show(partial.worst(config.pictures)),
    )
    partial.remove()
    pictures = 'predictions.png, worst.png and confusion.png'
    report.say(f'Scores, tables and the pictures {pictures} are in {folder}.')
  return scores


def _check_classes(card: Card, source: Source) -> None:
  theirs, ours = card.spec.class_names, source.spec.class_names
  # Converted weights may name the same classes in other words.
  if len(theirs) != len(ours) or (card.source is None and theirs != ours):
    raise UserError(
      f'the network knows the {len(theirs)} classes {", ".join(theirs)}, and the data the '
      f'{len(ours)} {", ".join(ours)}: evaluate on data with the same classes.'
    )


def main(config: ml_collections.ConfigDict) -> None:
  given = {key.removeprefix('eval.'): value for key, value in cli.overrides().items()}
  changes = checks.protocol_changes(given)
  name = FLAGS.model
  if name is None and named.may_be_imported(config.model.name):  # as in a config file of the user's
    name = config.model.name
  which = cli.which_checkpoint(FLAGS.checkpoint)
  evaluate(config, Path(FLAGS.workdir), which, changes, cli.own_network(name), ema=FLAGS.ema)
