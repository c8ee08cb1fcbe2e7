"""PASCAL VOC's figures, as VOCevalseg.m of the development kit (VOCdevkit 2012) defines them."""

from __future__ import annotations

from pspnet_jax.data.known_classes import VOC2012
from pspnet_jax.evaluation.figures import Figures, Table
from pspnet_jax.evaluation.metrics import Scores
from pspnet_jax.evaluation.official.counts import Counts


def figures(counts: Counts) -> Figures:
  """IoU of each class, the background among them, and its mean over the 21.

  Pixels labelled 255 count for nothing. A class that neither label nor prediction shows has no IoU
  (0 / 0), and then there is no mean either: the splits of the challenge show every class.

  Args:
    counts: pixels by class id, 0 to 20.
  """
  iou = Scores(counts.pixels).iou
  mean = float(iou.mean())
  rows = {name: (float(x),) for name, x in zip(VOC2012.class_names, iou, strict=True)}
  return Figures({'mean IoU': mean}, (Table('class', ('IoU',), rows, (mean,)),))
