"""Cityscapes' figures, as evalPixelLevelSemanticLabeling.py of mcordts/cityscapesScripts has them.

iIoU (Cordts et al., CVPR 2016) weighs the pixels of an instance by the average size of
its class over the instance's own, so that small ones count as much as large ones:

    iIoU = iTP / (iTP + FP + iFN)

A pixel of a false positive belongs to no instance and is not weighted.
"""

from __future__ import annotations

import numpy as np

from pspnet_jax.data.known_classes import CITYSCAPES_LABELS
from pspnet_jax.evaluation.figures import Figures, Table
from pspnet_jax.evaluation.metrics import Scores
from pspnet_jax.evaluation.official.counts import Counts

# Pixels; published in evalPixelLevelSemanticLabeling.py (avgClassSize).
_INSTANCE_SIZE = {
  'person': 3462.4756337644,
  'rider': 3930.4788056518,
  'car': 12794.0202738185,
  'truck': 27855.1264367816,
  'bus': 35732.1511111111,
  'train': 67583.7075812274,
  'motorcycle': 6298.7200839748,
  'bicycle': 4672.3249222261,
}
_LABELS = [label for label in CITYSCAPES_LABELS if label.id >= 0]
_EVALUATED = np.array([not label.ignore_in_eval for label in _LABELS])
_HAS_INSTANCES = np.array([label.has_instances for label in _LABELS])
_CATEGORY = np.array([label.category_id for label in _LABELS], np.uint8)  # the category of each id
_CATEGORY_NAMES = list(dict.fromkeys(label.category for label in _LABELS))
_SIZE = np.array([_INSTANCE_SIZE.get(label.name, 0.0) for label in _LABELS])
_IDS, _CATEGORIES = len(_LABELS), len(_CATEGORY_NAMES)  # 34 and 8, void first
FIRST_INSTANCE = 1001  # an instance of label 24 is 24000 + its number; 24 is a group of them
MAX_INSTANCE_ID = 1000 * _IDS - 1


def count_instances(instance_ids: np.ndarray, prediction: np.ndarray) -> np.ndarray:
  """Sums over the instances in an image, by their label.

  Args:
    instance_ids: integers [H, W] of a file `*_instanceIds.png`.
    prediction: uint8 [H, W], label ids.

  Returns:
    float64 [3, 34]: the number of instances; the sum of the share of each that is predicted as its
    label; and as any label of its category.
  """
  of_instance = instance_ids >= FIRST_INSTANCE
  ids, prediction = instance_ids[of_instance].astype(np.uint16), prediction[of_instance]  # [n]
  label = (np.arange(MAX_INSTANCE_ID + 1) // 1000).astype(np.uint8)[ids]
  right, right_category = prediction == label, _CATEGORY[prediction] == _CATEGORY[label]
  pixels, hit, hit_category = (
    np.bincount(chosen, minlength=MAX_INSTANCE_ID + 1)
    for chosen in (ids, ids[right], ids[right_category])
  )
  present = np.flatnonzero(pixels)
  shares = (np.ones(len(present)), *(x[present] / pixels[present] for x in (hit, hit_category)))
  return np.stack([np.bincount(present // 1000, share, _IDS) for share in shares])


def figures(counts: Counts) -> Figures:
  """IoU and iIoU of classes and categories, and their means over those that have a figure.

  Pixels of labels that are not evaluated count for nothing; one of another label that is predicted
  as such is wrong, and nobody's false positive. The exception is the evaluation's own: for the
  iIoU of vehicles, caravans and trailers are vehicles too when they are predicted.

  Args:
    counts: pixels and instances by label id; without instances there is no iIoU.
  """
  pixels = counts.pixels * _EVALUATED[:, None]
  classes = Scores(pixels)
  # Ids that are not evaluated are void; void has no labels left, and others can be taken for it.
  valid = np.eye(_CATEGORIES, dtype=np.int64)[_CATEGORY * _EVALUATED]  # [34, 8]
  categories = Scores(valid.T @ pixels @ valid)
  members = np.eye(_CATEGORIES, dtype=np.int64)[_CATEGORY]  # [34, 8], with caravan and trailer
  members = valid.T @ pixels @ members  # [8, 8]
  class_iiou, category_iiou = np.full(_IDS, np.nan), np.full(_CATEGORIES, np.nan)
  if counts.instances is not None:
    number, right, right_category = counts.instances * _SIZE  # weighted pixels [34]
    class_iiou = _iiou(number, right, classes.predicted_pixels - classes.intersection)
    class_iiou[~_HAS_INSTANCES] = np.nan
    number, right = number @ valid, right_category @ valid  # [8]
    category_iiou = _iiou(number, right, members.sum(0) - np.diag(members))
    category_iiou[~np.isin(range(_CATEGORIES), _CATEGORY[_HAS_INSTANCES])] = np.nan
  both = np.stack([classes.iou, class_iiou], 1)
  by_class = {label.name: both[label.id] for label in _LABELS if not label.ignore_in_eval}
  both = np.stack([categories.iou, category_iiou], 1)
  by_category = dict(zip(_CATEGORY_NAMES[1:], both[1:], strict=True))
  tables = (_table('class', by_class), _table('category', by_category))
  names = ('IoU classes', 'iIoU classes', 'IoU categories', 'iIoU categories')
  means = (mean for table in tables for mean in table.means)
  return Figures(dict(zip(names, means, strict=True)), tables)


def _iiou(instances: np.ndarray, right: np.ndarray, false_positive: np.ndarray) -> np.ndarray:
  """Computes iIoU; NaN where there is neither an instance nor a false positive."""
  with np.errstate(invalid='ignore'):
    return right / (instances + false_positive)


def _table(kind: str, figures: dict[str, np.ndarray]) -> Table:
  rows = {name: (float(iou), float(iiou)) for name, (iou, iiou) in figures.items()}
  iou, iiou = zip(*rows.values(), strict=True)
  return Table(kind, ('IoU', 'iIoU'), rows, (_mean(iou), _mean(iiou)))


def _mean(values: tuple[float, ...]) -> float:
  present = [value for value in values if not np.isnan(value)]
  return sum(present) / len(present) if present else float('nan')
