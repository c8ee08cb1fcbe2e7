"""Comparisons with networks that need an interpreter of their own; see foreign_logits.py.

python -m tests.weights.elsewhere write CASE FOLDER     # a case of full_size: files, an image
PYTHON tests/weights/foreign_logits.py ...              # their logits
python -m tests.weights.elsewhere compare CASE FOLDER   # ours of every file there, beside them
"""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import numpy as np

from pspnet_jax.models.network import Network
from pspnet_jax.ops.images import normalize
from pspnet_jax.weights import importing
from tests.weights.full_size import AUTHORS, CASES, draw, measure


def write(case: str, folder: Path) -> None:
  known = CASES[case]
  image = draw(*known.size)
  np.save(folder / 'image.npy', image)
  AUTHORS[known.source](known.depth, known.num_classes, **known.options).fill(image).write(folder)


def compare(case: str, folder: Path) -> None:
  image, theirs = np.load(folder / 'image.npy'), np.load(folder / 'logits.npz')
  for path in sorted((*folder.glob('*.pdparams'), *folder.glob('*.params'))):
    converted = importing.convert([path], **CASES[case].flags)
    card = converted.card
    for dtype in ('float32', 'float64'):
      with jax.enable_x64(dtype == 'float64'):
        params, batch_stats = (
          {name: x.astype(dtype) for name, x in part.items()}
          for part in (converted.params, converted.batch_stats)
        )
        x = normalize(image[None].astype(dtype), card.mean, card.std, dtype)
        run = jax.jit(Network(**card.network, dtype=dtype).apply)
        ours = np.asarray(run(params, batch_stats, x)[0]['logits'][0])
      print(path.name, dtype, measure(ours, theirs[dtype]), flush=True)


if __name__ == '__main__':
  what, name, place = sys.argv[1:]
  {'write': write, 'compare': compare}[what](name, Path(place))
