"""Fabricated predictions and labels in Cityscapes' layout, and the official tool's figures.

With cityscapesScripts at hand this writes the golden values beside it:

  pip install --no-deps cityscapesscripts pyquaternion
  python -m tests.evaluation.official.fabricated
"""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image

GOLDEN = Path(__file__).with_name('golden_cityscapes.json')
FRAMES = ('aachen_000000_000019', 'aachen_000001_000019', 'bad-town_000000_000294')
BLOCKS, SIDE = (6, 9), 8  # an image is 6 by 9 blocks of 8 pixels

# Label ids by weight: things, stuff and void; no train (31), no wall (12), nothing of the sky.
LABELS = [7, 7, 8, 11, 13, 17, 19, 21, 24, 24, 25, 26, 26, 26, 27, 28, 33, 0, 3, 9, 18, 29, 30]
# What errors look like: a motorcycle (32) is only ever predicted, caravan and trailer at times.
WRONG = [7, 8, 11, 20, 21, 22, 24, 25, 26, 27, 29, 30, 32, 33, 0, 4, 16]


def noise(count: int, seed: int) -> np.ndarray:
  """int64 [count], 0 to 65535: a multiplicative hash, the same in every NumPy for ever."""
  index = np.arange(1, count + 1, dtype=np.uint64) + np.uint64(7919 * seed)
  return ((index * np.uint64(2654435761) % np.uint64(2**32)) >> np.uint64(16)).astype(np.int64)


def images(seed: int) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
  """Label ids, instance ids and prediction of each frame; [48, 72]."""
  made = {}
  for i, frame in enumerate(FRAMES):
    key = 100 * seed + 10 * i
    shape = BLOCKS[0] * SIDE, BLOCKS[1] * SIDE
    draw = noise(BLOCKS[0] * BLOCKS[1], key).reshape(BLOCKS)
    label = np.array(LABELS)[draw % len(LABELS)]
    thing = (label >= 24) & (draw % 5 > 0)  # a fifth of the things are groups without instances
    # Blocks share numbers within a class, so that instances differ in size.
    instances = np.where(thing, 1000 * label + 1 + draw // 64 % 4, label)
    errors = draw // 8 % 6  # of 8 pixels, so that instances differ in how well they are found
    label, instances, errors = (
      x.repeat(SIDE, 0).repeat(SIDE, 1) for x in (label, instances, errors)
    )
    instances[::7, ::3] = label[::7, ::3]  # and have holes
    pixels = noise(label.size, key + 1).reshape(shape)
    wrong = np.array(WRONG)[pixels // 256 % len(WRONG)]
    made[frame] = label, instances, np.where(pixels % 8 >= errors, label, wrong)
  return made


def write(root: Path, seed: int) -> tuple[Path, Path]:
  """Writes gtFine/val/CITY/*.png and predictions/CITY/*.png; returns the two folders."""
  predictions, labels = root / 'predictions', root / 'gtFine' / 'val'
  for frame, (label, instances, prediction) in images(seed).items():
    city = frame.split('_')[0]
    (labels / city).mkdir(parents=True, exist_ok=True)
    (predictions / city).mkdir(parents=True, exist_ok=True)
    save(labels / city / f'{frame}_gtFine_labelIds.png', label)
    save(labels / city / f'{frame}_gtFine_instanceIds.png', instances, np.uint16)
    save(predictions / city / f'{frame}_leftImg8bit.png', prediction)
  return predictions, labels


def save(path: Path, ids: np.ndarray, dtype: type = np.uint8) -> None:
  Image.fromarray(ids.astype(dtype)).save(path)


def official(predictions: Path, labels: Path) -> dict:
  """What cityscapesScripts says; ImportError without it."""
  from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as tool  # noqa: N813

  truth = sorted(labels.glob('*/*_labelIds.png'))
  found = [next(predictions.glob(f'*/{path.name.split("_gtFine")[0]}*')) for path in truth]
  tool.args.JSONOutput, tool.args.quiet = False, True
  # cityscapesScripts 2.3 calls it by the name that NumPy 2.4 dropped.
  with mock.patch.object(np, 'in1d', np.isin, create=True):
    return tool.evaluateImgLists([str(p) for p in found], [str(p) for p in truth], tool.args)


if __name__ == '__main__':
  import tempfile

  with tempfile.TemporaryDirectory() as folder:
    result = official(*write(Path(folder), seed=0))
  del result['confMatrix'], result['priors'], result['labels']
  GOLDEN.write_text(json.dumps(result, indent=1) + '\n')
