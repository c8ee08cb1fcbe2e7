"""Evaluates a trained PSPNet on the validation split.

python -m pspnet_jax.evaluate --workdir=/tmp/scenes

The data are those of the run, or of --config=FILE.py. The protocol is the checkpoint's, unless a
flag changes it: --config.eval.protocol=semseg, --config.eval.scales=0.5,0.75,1,1.25,1.5,1.75,
--config.eval.flip=True; docs/evaluation.md has them all.
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

from pspnet_jax import cli, evaluation, from_config, settings, visualize
from pspnet_jax.checkpoints import Checkpoints, Which
from pspnet_jax.data.spec import DatasetSpec, Example
from pspnet_jax.errors import UserError, cannot_write
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
    changes: to the card's protocol; see `protocol.Protocol.changed`.

  Raises:
    UserError: for whatever the user can mend.
  """
  checkpoints = Checkpoints(workdir, read_only=True)
  step = checkpoints.step(which)
  card = checkpoints.card(step)
  card = dataclasses.replace(card, protocol=card.protocol.changed(**(changes or {})))
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
  inference = from_config.make_inference(config, network, card)

  shown: list[tuple[Example, np.ndarray]] = []
  with Reporter(None, total_steps=len(source)) as report:
    how = card.protocol.describe(card.crop_size)
    report.say(f'Evaluating step {step} of {workdir} on {len(source):,} images: {how}.')
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
    scores = Scores(confusion, card.protocol.absent_classes)
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


def main(config: ml_collections.ConfigDict) -> None:
  given = {key.removeprefix('eval.'): value for key, value in cli.overrides().items()}
  changes = settings.protocol_changes(given)
  evaluate(config, Path(FLAGS.workdir), cli.which_checkpoint(FLAGS.checkpoint), changes)


FLAGS = flags.FLAGS

if __name__ == '__main__':
  flags.DEFINE_string('checkpoint', 'best', "'best', 'latest' or a step.")
  cli.run(main)
