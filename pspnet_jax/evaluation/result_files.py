"""Writes what an evaluation leaves behind: figures for programs and people, pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pspnet_jax.data.spec import DatasetSpec, Example
from pspnet_jax.evaluation.figures import as_csv, as_markdown
from pspnet_jax.evaluation.metrics import Scores
from pspnet_jax.evaluation.published_figures import Published
from pspnet_jax.evaluation.scoring import figures_of
from pspnet_jax.pictures import confusion
from pspnet_jax.pictures.labels import overlay, panel
from pspnet_jax.pictures.png_files import as_png
from pspnet_jax.runtime.files import write_together


class Shown(NamedTuple):
  """An example in a picture."""

  example: Example
  prediction: np.ndarray  # uint8 [H, W]
  image_iou: float  # mean over the classes its label shows


def write(
  folder: Path,
  scores: Scores,
  spec: DatasetSpec,
  about: dict[str, Any],
  *,
  typical: Sequence[Shown],
  worst: Sequence[Shown],
  published: Published | None = None,
) -> None:
  """Writes scores.json, scores.md, scores.csv, confusion.png, predictions.png and worst.png.

  What is in the folder is of one evaluation: if a file cannot be written, all stay as they were,
  and pictures that this one does not have are removed.

  Args:
    folder: is made if need be.
    scores: what was counted over all images.
    spec: names and colours of the classes.
    about: what was evaluated and how, for scores.json; `title` heads scores.md.
    typical: the examples in predictions.png.
    worst: the examples in worst.png, the worst first.
    published: figures to stand beside the scores.

  Raises:
    UserError: if something cannot be written.
  """
  found = figures_of(scores, spec)
  if published is not None:
    about = {**about, 'published': published.to_json()}
    found = published.beside(found)
  values = {
    **about,
    **found.summary,
    'absent_classes': scores.absent_classes,
    'IoU': dict(zip(spec.class_names, _json_floats(scores.iou), strict=True)),
    'accuracy': dict(zip(spec.class_names, _json_floats(scores.accuracy), strict=True)),
    'confusion': scores.confusion.tolist(),
  }
  contents: dict[str, str | bytes | None] = {
    'scores.json': json.dumps(values, indent=1) + '\n',
    'scores.md': as_markdown(found, about['title']),
    'scores.csv': as_csv(found),
    'confusion.png': as_png(confusion.draw(scores.confusion, spec)),
    'predictions.png': None,
    'worst.png': None,
  }
  if typical:
    picture = panel(
      [shown.example['image'] for shown in typical],
      [shown.example['label'] for shown in typical],
      [shown.prediction for shown in typical],
      spec,
      names=[shown.example['name'] for shown in typical],
    )
    contents['predictions.png'] = as_png(picture)
  if worst:
    overlays = [
      overlay(shown.example['image'], shown.prediction, spec, legend=False) for shown in worst
    ]
    picture = panel(
      overlays,
      [shown.example['label'] for shown in worst],
      [shown.prediction for shown in worst],
      spec,
      names=[f'{shown.example["name"]}: mIoU {100 * shown.image_iou:.1f} %' for shown in worst],
      titles=('prediction over image', 'label', 'prediction'),
    )
    contents['worst.png'] = as_png(picture)
  write_together({folder / name: content for name, content in contents.items()})


def _json_floats(values: np.ndarray) -> list[float | None]:
  return [None if np.isnan(x) else float(x) for x in values]
