"""Draws docs/images/context_scenes.png, scenes above their labels and a legend, and scene.png, one.

python docs/draw_scenes.py
"""

from pathlib import Path

import numpy as np
from PIL import Image

from pspnet_jax.data.scenes import SPEC, ContextScenes
from pspnet_jax.pictures import legends
from pspnet_jax.pictures.labels import colour

INDICES = (1, 2, 7, 8)
ALONE = 3  # which the README has labelled
SIZE = (225, 225)
GAP = 6


def main():
  scenes = ContextScenes('val', SIZE)
  examples = [scenes[i] for i in INDICES]
  rows = [
    [example['image'] for example in examples],
    [colour(example['label'], SPEC) for example in examples],
  ]
  height, width = SIZE
  sheet = np.full(
    (2 * (height + GAP), len(INDICES) * (width + GAP) - GAP, 3), legends.PAPER, np.uint8
  )
  for i, row in enumerate(rows):
    for j, picture in enumerate(row):
      top, left = i * (height + GAP), j * (width + GAP)
      sheet[top : top + height, left : left + width] = picture
  entries = [
    legends.LegendEntry(name, '', colour)
    for name, colour in zip(SPEC.class_names, SPEC.palette, strict=True)
  ]
  sheet = np.concatenate([sheet, legends.draw(entries, sheet.shape, size=17)])
  path = Path(__file__).parent / 'images' / 'context_scenes.png'
  path.parent.mkdir(exist_ok=True)
  Image.fromarray(sheet).quantize(256, kmeans=4, dither=Image.Dither.NONE).save(path, optimize=True)
  alone = path.with_name('scene.png')
  Image.fromarray(scenes[ALONE]['image']).save(alone, optimize=True)
  for made in (path, alone):
    print(f'{made}: {made.stat().st_size / 1000:.0f} kB')


if __name__ == '__main__':
  main()
