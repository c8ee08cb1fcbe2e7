"""Evaluates a trained PSPNet on the validation split.

  pspnet evaluate --workdir=/tmp/scenes

The data are those of the run, or of --config=FILE.py. The protocol is the checkpoint's, unless a
flag changes it: --config.eval.protocol=semseg, --config.eval.scales=0.5,0.75,1,1.25,1.5,1.75,
--config.eval.flip=True; docs/evaluation.md has them all. With --workdir=A,B --output=DIR both
networks label each image together, by the mean of their probabilities; the data are those of A.
"""

from __future__ import annotations

from absl import flags

from pspnet_jax import cli

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the command's flags; see `cli`."""
  from pspnet_jax.evaluation.published_figures import PUBLISHED

  cli.takes_config()
  cli.define_network_flags(several=True)
  text = 'Where results go, if not to WORKDIR/evaluation.'
  cli.define_path('output', None, text, in_bucket=True)
  flags.DEFINE_enum('published', None, list(PUBLISHED), 'Published figures to stand beside these.')


if __name__ == '__main__':  # ahead of the imports: --help does not wait for JAX
  cli.start('evaluate', __doc__, define_flags)

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import ml_collections
from flax import nnx

from pspnet_jax.config import checks, files, named, parts, shared
from pspnet_jax.data.identity import identity
from pspnet_jax.data.same_classes import difference, in_other_words
from pspnet_jax.data.spec import Source
from pspnet_jax.errors import Stopped, UserError
from pspnet_jax.evaluation import published_figures, result_files, scoring
from pspnet_jax.evaluation.metrics import AbsentClasses, Scores
from pspnet_jax.evaluation.partial_scores import PartialScores
from pspnet_jax.evaluation.result_files import Shown
from pspnet_jax.inference.card import Card
from pspnet_jax.inference.engine import Weights
from pspnet_jax.inference.ensemble import Ensemble
from pspnet_jax.reporting.reporter import Reporter
from pspnet_jax.runtime import bucket_lock, storage
from pspnet_jax.runtime.files import refuse_links, remove_leftovers
from pspnet_jax.runtime.paths import is_on_hub
from pspnet_jax.training.stop_signals import StopSignals
from pspnet_jax.weights import folders, members
from pspnet_jax.weights.folders import Location
from pspnet_jax.weights.loaded import Which


def evaluate(
  config: ml_collections.ConfigDict,
  workdir: Location | Sequence[Location],
  which: Which = 'best',
  changes: Mapping[str, Any] | None = None,
  model: type[nnx.Module] | None = None,
  *,
  ema: bool = True,
  output: Path | None = None,
  published: str | None = None,
) -> Scores:
  """Prints the scores of a checkpoint, and writes them and pictures to a folder.

  Interrupted, it goes on where it stopped when it is called again with the same arguments.

  Args:
    config: says which data, and how scores are counted.
    workdir: of a run or a conversion, a packed folder or an address of the Hub. Network, pixels and
      protocol are those of its card. Several networks label together, by the mean of their
      probabilities.
    which: the checkpoint of each.
    changes: to each card's protocol; see `protocol.Protocol.changed`.
    model: the network's class where it is no PSPNet.
    ema: whether the moving average of the parameters is evaluated, where the run kept one.
    output: the folder; None: `workdir/evaluation`, of a single one.
    published: which of `published_figures.PUBLISHED` are to stand beside the scores.

  Raises:
    UserError: for whatever the user can mend.
  """
  workdirs: list[Location] = [
    storage.location(x) for x in ([workdir] if isinstance(workdir, str | PurePath) else workdir)
  ]
  folder = _folder(workdirs, output)
  for each in workdirs:
    folders.check(each)  # ahead of the data's faults
  source = parts.open_split(config, 'val')
  beside = None if published is None else published_figures.named(published)
  if beside is not None:
    beside.check(source.spec.class_names)
  networks = _load(
    config, workdirs, which=which, changes=changes, model=model, ema=ema, source=source
  )
  absent_classes = _one_convention(networks.cards)

  title = members.together(networks.origins)
  how = dict.fromkeys(card.protocol.describe(card.crop_size) for card in networks.cards)
  # Counts go on only if nothing has changed that they depend on.
  question = {
    'weights': networks.digests,
    'cards': [card.to_json() for card in networks.cards],
    'data': {'config': config.data.to_dict(), 'source': identity(source)},
  }
  with (
    bucket_lock.lock(folder, 'is in use by {holder}: wait for its end.'),
    Reporter(None, total_steps=len(source)) as report,
    StopSignals(after='this image', owns_process=cli.is_command()) as stop,
  ):
    remove_leftovers(folder)
    if not storage.is_remote(folder):
      refuse_links(folder, [path.name for path in folder.iterdir() if not path.is_dir()])
    partial = PartialScores(folder / 'unfinished.npz', question, source.spec.num_classes)
    report.say(f'Evaluating {title}, {len(source):,} images: {"; ".join(how)}.')
    caveats = _trained_on(workdirs, config)
    for note in (*getattr(source, 'notes', ()), *networks.notes, *caveats):
      report.say(note)
    if partial.done:
      report.say(f'{partial.done:,} images were counted before: going on from there.')

    def progress(done: int) -> None:
      report.advance(done)
      stop.check()

    try:
      confusion = scoring.confusion_matrix(
        networks.ensemble,
        networks.weights,
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
    scores = Scores(confusion, absent_classes)
    figures = scoring.figures_of(scores, source.spec)
    [table] = (figures if beside is None else beside.beside(figures)).tables
    report.table(table.heading, table.cells, footer=table.footer)
    if beside is not None:
      report.say(f'Published: {beside.title} ({beside.source}).')
    report.say(scoring.summary(scores))

    def show(indices: list[int]) -> list[Shown]:
      usable = [index for index in indices if index in partial.image_iou]
      pairs = scoring.label_examples(networks.ensemble, networks.weights, source, usable)
      return [Shown(*pair, partial.image_iou[i]) for i, pair in zip(usable, pairs, strict=True)]

    missing = len(partial.left_out)
    measured = {
      'title': f'{title}, {shared.images(len(source) - missing, missing)}',
      'data': shared.data_name(config.to_dict(), 'val'),
      'images': len(source) - missing,
      'left_out': missing,
      'notes': caveats,
    }
    with stop.while_doing('the results are written'):
      result_files.write(
        folder,
        scores,
        source.spec,
        {**measured, **_about(networks)},
        published=beside,
        typical=show(scoring.spread(len(source), config.pictures)),
        worst=show(partial.worst(config.pictures)),
      )
      partial.remove()
    pictures = 'predictions.png, worst.png and confusion.png'
    report.say(f'Scores, tables and the pictures {pictures} are in {folder}.')
  return scores


class _Networks(NamedTuple):
  """What is evaluated."""

  ensemble: Ensemble
  weights: list[Weights]
  cards: list[Card]
  origins: list[str]
  digests: list[str]
  notes: list[str]


def _load(
  config: ml_collections.ConfigDict, workdirs: Sequence[Location], *, source: Source, **options: Any
) -> _Networks:
  """The networks of the workdirs, whose classes are those of the source."""
  inferences, weights, cards, origins, digests, notes = [], [], [], [], [], []

  def check(card: Card, name: str) -> str | None:
    return _check_classes(card, source, name)

  for member in members.load(workdirs, check=check, **options):
    inferences.append(parts.make_inference(config, member.network, member.card))
    weights.append(inferences[-1].prepare(member.params, member.batch_stats))
    cards.append(member.card)
    origins.append(member.origin)
    digests.append(member.digest)
    notes += [member.note] if member.note else []
  return _Networks(Ensemble(inferences), weights, cards, origins, digests, notes)


def _folder(workdirs: Sequence[Location], output: Path | None) -> Path:
  """Where results go: never to those of a single network, if there are several."""
  own = [x / 'evaluation' for x in workdirs if isinstance(x, PurePath)]
  if not workdirs:
    raise UserError('no workdir is given: name at least one.')
  if output is None:
    if is_on_hub(workdirs[0]):
      raise UserError(f'the results of {workdirs[0]} have no folder: give --output=DIR.')
    if len(workdirs) != 1:
      raise UserError(f'the results of {len(workdirs)} networks have no folder: give --output=DIR.')
    return own[0]
  folder = storage.given(output)
  if len(workdirs) > 1 and _resolved(folder) in map(_resolved, own):
    raise UserError(f'{folder} is for the results of one network alone: give another --output.')
  return folder


def _resolved(folder: Path) -> str:
  return str(folder if storage.is_remote(folder) else folder.resolve())


def _one_convention(cards: Sequence[Card]) -> AbsentClasses:
  """How absent classes are counted; UserError if the networks' protocols disagree."""
  conventions = list(dict.fromkeys(card.protocol.absent_classes for card in cards))
  if len(conventions) > 1:
    raise UserError(
      'the protocols of the networks count absent classes differently: give '
      '--config.eval.absent_classes=exclude or zero.'
    )
  return conventions[0]


def _about(networks: _Networks) -> dict[str, Any]:
  measured = {'digests': networks.digests}  # `pspnet pack` asks
  protocols = [dataclasses.asdict(card.protocol) for card in networks.cards]
  if len(protocols) == 1:
    return {**measured, 'protocol': protocols[0]}
  pairs = zip(networks.origins, protocols, strict=True)
  return {**measured, 'members': [{'weights': origin, 'protocol': x} for origin, x in pairs]}


def _check_classes(card: Card, source: Source, name: str) -> str | None:
  """Refuses other classes than the data's; says what goes by other words."""
  theirs, ours = card.spec.class_names, source.spec.class_names
  if difference(theirs, ours, other_words=card.source is not None) is not None:
    raise UserError(
      f'the network knows the {len(theirs)} classes {", ".join(theirs)}, and the data the '
      f'{len(ours)} {", ".join(ours)}: evaluate on data with the same classes.'
    )
  return in_other_words(theirs, ours, (name, 'the data'))


def _trained_on(workdirs: Sequence[Location], config: ml_collections.ConfigDict) -> list[str]:
  """Says which of the images that are evaluated runs were trained on, by their own configs."""
  notes = []
  for folder in map(folders.local, workdirs):
    if (path := files.saved_in(folder)) is not None:  # not in a conversion
      with contextlib.suppress(UserError):  # a damaged one tells nothing
        notes.append(parts.seen_in_training(files.load_saved(path), config))
  return [*filter(None, dict.fromkeys(notes))]


def main(config: ml_collections.ConfigDict) -> None:
  given = {key.removeprefix('eval.'): value for key, value in cli.overrides().items()}
  changes = checks.protocol_changes(given)
  name = FLAGS.model
  if name is None and named.may_be_imported(config.model.name):  # as in a config file of the user's
    name = config.model.name
  which = cli.which_checkpoint(FLAGS.checkpoint)
  evaluate(
    config,
    FLAGS.workdir,
    which,
    changes,
    cli.own_network(name),
    ema=FLAGS.ema,
    output=FLAGS.output,
    published=FLAGS.published,
  )
