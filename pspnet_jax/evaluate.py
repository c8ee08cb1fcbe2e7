"""Evaluates a trained PSPNet on the validation split.

python -m pspnet_jax.evaluate --workdir=/tmp/scenes

The data are those of the run, or of --config=FILE.py. The protocol is the checkpoint's, unless a
flag changes it: --config.eval.window=473,473 slides windows, --config.eval.flip=True averages with
the mirror image.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np
from absl import flags

from pspnet_jax import cli, evaluation, from_config, visualize
from pspnet_jax.checkpoints import Checkpoints, Which
from pspnet_jax.data.spec import DatasetSpec, Example
from pspnet_jax.errors import UserError, cannot_write
from pspnet_jax.inference import Inference
from pspnet_jax.metrics import Scores
from pspnet_jax.reporting import Reporter


def evaluate(
  config: ml_collections.ConfigDict,
  workdir: Path,
  which: Which = 'best',
  changes: Mapping[str, Any] | None = None,
) -> Scores:
  """Prints the scores of a checkpoint, and writes them and a picture to `workdir/evaluation`.

  Args:
    config: says which data, and how scores are counted.
    workdir: of a run or a conversion. Network, pixels and protocol are those of its card.
    which: the checkpoint.
    changes: fields of the card's protocol; see `card.Protocol`.

  Raises:
    UserError: for whatever the user can mend.
  """
  checkpoints = Checkpoints(workdir, read_only=True)
  step = checkpoints.step(which)
  card = checkpoints.card(step)
  card = dataclasses.replace(card, protocol=dataclasses.replace(card.protocol, **(changes or {})))
  source = from_config.open_split(config, 'val')
  theirs, ours = card.spec.class_names, source.spec.class_names
  # Converted weights may name the same classes in other words.
  if len(theirs) != len(ours) or (card.source is None and theirs != ours):
    raise UserError(
      f'the network knows the {len(theirs)} classes {", ".join(theirs)}, and the data the '
      f'{len(ours)} {", ".join(ours)}: evaluate on data with the same classes.'
    )
  network = card.build_network()
  params, batch_stats = checkpoints.weights(network, step)
  checkpoints.close()
  inference = Inference(network, card, batch_size=config.eval.batch_size)

  shown: list[tuple[Example, np.ndarray]] = []
  with Reporter(None, total_steps=len(source)) as report:
    window = card.protocol.window
    how = f'windows of {window[0]}×{window[1]}' if window else 'whole images'
    flip = ', averaged with the mirror image' if card.protocol.flip else ''
    report.say(f'Evaluating step {step} of {workdir} on {len(source):,} images: {how}{flip}.')
    confusion = evaluation.confusion_matrix(
      inference,
      params,
      batch_stats,
      source,
      threads=config.threads or None,
      on_label=lambda _, example, label: shown.append((example, label)),
      pictures=config.pictures,
      on_progress=report.advance,
      skip_bad=config.data_errors == 'skip',
    )
    scores = Scores(confusion, config.eval.absent_classes)
    rows, means = evaluation.table(scores, source.spec)
    report.table(evaluation.COLUMNS, rows, footer=means)
    report.say(evaluation.summary(scores))
    report.say(
      f'Scores and a picture: {_write(workdir / "evaluation", scores, source.spec, shown)}'
    )
  return scores


def _write(
  folder: Path, scores: Scores, spec: DatasetSpec, shown: list[tuple[Example, np.ndarray]]
) -> str:
  try:
    folder.mkdir(exist_ok=True)
    figures = {
      'mIoU': scores.miou,
      'mAcc': scores.macc,
      'aAcc': scores.aacc,
      'absent_classes': scores.absent_classes,
      'IoU': dict(zip(spec.class_names, _json_floats(scores.iou), strict=True)),
      'accuracy': dict(zip(spec.class_names, _json_floats(scores.accuracy), strict=True)),
      'confusion': scores.confusion.tolist(),
    }
    (folder / 'scores.json').write_text(json.dumps(figures, indent=1) + '\n')
  except OSError as e:
    raise cannot_write(folder, e) from e
  if not shown:
    return str(folder / 'scores.json')
  picture = visualize.panel(
    [example['image'] for example, _ in shown],
    [example['label'] for example, _ in shown],
    [label for _, label in shown],
    spec,
    names=[example['name'] for example, _ in shown],
  )
  visualize.write_image(folder / 'predictions.png', picture)
  return f'{folder / "scores.json"}, {folder / "predictions.png"}'


def _json_floats(values: np.ndarray) -> list[float | None]:
  return [None if np.isnan(x) else float(x) for x in values]


_PROTOCOL = ('window', 'stride', 'flip')  # keys of config.eval that a flag may change


def main(config: ml_collections.ConfigDict) -> None:
  given = cli.overrides()
  changes = {name: given[f'eval.{name}'] for name in _PROTOCOL if f'eval.{name}' in given}
  if given.get('eval.whole_images'):
    changes['window'] = None
  evaluate(config, Path(FLAGS.workdir), cli.which_checkpoint(FLAGS.checkpoint), changes)


FLAGS = flags.FLAGS

if __name__ == '__main__':
  flags.DEFINE_string('checkpoint', 'best', "'best', 'latest' or a step.")
  cli.run(main)
