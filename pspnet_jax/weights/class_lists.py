"""Classes of the data sets that published networks were trained on."""

from __future__ import annotations

from pspnet_jax.data.spec import DatasetSpec, default_palette

# The 19 that are evaluated, in the order of their train ids, with the data set's colours
# (cityscapesScripts, helpers/labels.py).
_CITYSCAPES = {
  'road': (128, 64, 128),
  'sidewalk': (244, 35, 232),
  'building': (70, 70, 70),
  'wall': (102, 102, 156),
  'fence': (190, 153, 153),
  'pole': (153, 153, 153),
  'traffic light': (250, 170, 30),
  'traffic sign': (220, 220, 0),
  'vegetation': (107, 142, 35),
  'terrain': (152, 251, 152),
  'sky': (70, 130, 180),
  'person': (220, 20, 60),
  'rider': (255, 0, 0),
  'car': (0, 0, 142),
  'truck': (0, 0, 70),
  'bus': (0, 60, 100),
  'train': (0, 80, 100),
  'motorcycle': (0, 0, 230),
  'bicycle': (119, 11, 32),
}
_VOC = (
  'background, aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, dining table, '
  'dog, horse, motorbike, person, potted plant, sheep, sofa, train, tv monitor'
)
# SceneParse150 in the order of its objectInfo150.csv, the first of each class's names.
_ADE20K = (
  'wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, '
  'person, earth, door, table, mountain, plant, curtain, chair, car, water, painting, sofa, '
  'shelf, house, sea, mirror, rug, field, armchair, seat, fence, desk, rock, wardrobe, lamp, '
  'bathtub, railing, cushion, base, box, column, signboard, chest of drawers, counter, sand, '
  'sink, skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway, case, pool table, '
  'pillow, screen door, stairway, river, bridge, bookcase, blind, coffee table, toilet, flower, '
  'book, hill, bench, countertop, stove, palm, kitchen island, computer, swivel chair, boat, bar, '
  'arcade machine, hovel, bus, towel, light, truck, tower, chandelier, awning, streetlight, '
  'booth, television receiver, airplane, dirt track, apparel, pole, land, bannister, escalator, '
  'ottoman, bottle, buffet, poster, stage, van, ship, fountain, conveyer belt, canopy, washer, '
  'plaything, swimming pool, stool, barrel, basket, waterfall, tent, bag, minibike, cradle, oven, '
  'ball, food, step, tank, trade name, microwave, pot, animal, bicycle, lake, dishwasher, screen, '
  'blanket, sculpture, hood, sconce, vase, traffic light, tray, ashcan, fan, pier, crt screen, '
  'plate, monitor, bulletin board, shower, radiator, glass, clock, flag'
)


def known_classes(num_classes: int) -> DatasetSpec | None:
  """Cityscapes for 19, VOC 2012 for 21, ADE20K for 150 classes; None for other numbers."""
  if num_classes == len(_CITYSCAPES):
    return DatasetSpec(tuple(_CITYSCAPES), tuple(_CITYSCAPES.values()))
  for text in (_VOC, _ADE20K):
    names = tuple(text.split(', '))
    if num_classes == len(names):
      return DatasetSpec(names, default_palette(num_classes))
  return None


def numbered_classes(num_classes: int) -> DatasetSpec:
  """class_0, class_1, ...: where nothing is known of them."""
  names = tuple(f'class_{i}' for i in range(num_classes))
  return DatasetSpec(names, default_palette(num_classes))
