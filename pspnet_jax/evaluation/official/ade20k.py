"""ADE20K's figures, as evaluationCode of CSAILVision/sceneparsing defines them."""

from __future__ import annotations

import numpy as np

from pspnet_jax.data.known_classes import ADE20K
from pspnet_jax.evaluation.figures import Figures, Table
from pspnet_jax.evaluation.metrics import Scores
from pspnet_jax.evaluation.official.counts import Counts


def figures(counts: Counts) -> Figures:
  """Pixel accuracy, IoU of each class, their mean, and the score: the mean of the two.

  Pixels labelled 0 count for nothing; a pixel predicted as 0 is wrong. A class that neither label
  nor prediction shows has IoU 0 (0 / eps) and takes part in the mean over the 150.

  Args:
    counts: pixels by the ids in the files, 0 to 150.
  """
  labelled = counts.pixels.copy()
  labelled[0] = 0
  scores = Scores(labelled, absent_classes='zero')
  iou = np.nan_to_num(scores.iou[1:], nan=0.0)
  mean, accuracy = float(iou.mean()), scores.aacc
  rows = {name: (float(x),) for name, x in zip(ADE20K.class_names, iou, strict=True)}
  summary = {
    'pixel accuracy': accuracy,
    'mean IoU': mean,
    'score (mean of the two)': (accuracy + mean) / 2,
  }
  return Figures(summary, (Table('class', ('IoU',), rows, (mean,)),))
