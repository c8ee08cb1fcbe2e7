"""Names, order and colours of the published classes, at places where a slip would show."""

import pytest

from pspnet_jax.data.known_classes import (
  ADE20K,
  CAMVID,
  CITYSCAPES,
  CITYSCAPES_LABELS,
  COCO_STUFF,
  MAPILLARY,
  PASCAL_CONTEXT,
  PASCAL_CONTEXT_59,
  VOC2012,
  known_classes,
  numbered_classes,
)


@pytest.mark.parametrize(
  ('spec', 'num_classes', 'index', 'name', 'colour'),
  [
    (ADE20K, 150, 0, 'wall', (120, 120, 120)),
    (ADE20K, 150, 12, 'person', (150, 5, 61)),
    (ADE20K, 150, 89, 'television receiver', (0, 255, 194)),
    (ADE20K, 150, 149, 'flag', (92, 0, 255)),
    (VOC2012, 21, 11, 'diningtable', (192, 128, 0)),
    (VOC2012, 21, 20, 'tvmonitor', (0, 64, 128)),
    (CITYSCAPES, 19, 0, 'road', (128, 64, 128)),
    (CITYSCAPES, 19, 6, 'traffic light', (250, 170, 30)),
    (CITYSCAPES, 19, 18, 'bicycle', (119, 11, 32)),
    (CAMVID, 11, 0, 'Sky', (128, 128, 128)),
    (CAMVID, 11, 10, 'Bicyclist', (0, 128, 192)),
    (COCO_STUFF, 171, 79, 'toothbrush', (224, 128, 128)),
    (COCO_STUFF, 171, 80, 'banner', (32, 64, 0)),
    (COCO_STUFF, 171, 170, 'wood', (64, 160, 64)),
    (MAPILLARY, 65, 0, 'Bird', (165, 42, 42)),
    (MAPILLARY, 65, 8, 'Crosswalk - Plain', (140, 140, 200)),
    (MAPILLARY, 65, 50, 'Traffic Sign (Front)', (220, 220, 0)),
    (MAPILLARY, 65, 64, 'Ego Vehicle', (120, 10, 10)),
    (PASCAL_CONTEXT, 60, 0, 'background', (0, 0, 0)),
    (PASCAL_CONTEXT, 60, 59, 'wood', (192, 192, 64)),
    (PASCAL_CONTEXT_59, 59, 58, 'wood', (192, 192, 64)),
    (PASCAL_CONTEXT_59, 59, 54, 'tvmonitor', (128, 192, 192)),
  ],
)
def test_names_and_colours(spec, num_classes, index, name, colour):
  assert spec.num_classes == num_classes
  assert (spec.class_names[index], spec.palette[index]) == (name, colour)


def test_cityscapes_table_has_the_facts_of_labels_py():
  """Rows of cityscapesScripts that differ from their neighbours in every field."""
  by_name = {label.name: label for label in CITYSCAPES_LABELS}
  assert len(CITYSCAPES_LABELS) == len(by_name) == 35
  assert [label.id for label in CITYSCAPES_LABELS] == [*range(34), -1]
  assert by_name['dynamic'] == ('dynamic', 5, 255, 'void', 0, False, True, (111, 74, 0))
  assert by_name['pole'] == ('pole', 17, 5, 'object', 3, False, False, (153, 153, 153))
  assert by_name['polegroup'] == ('polegroup', 18, 255, 'object', 3, False, True, (153, 153, 153))
  assert by_name['sky'] == ('sky', 23, 10, 'sky', 5, False, False, (70, 130, 180))
  assert by_name['caravan'] == ('caravan', 29, 255, 'vehicle', 7, True, True, (0, 0, 90))
  assert by_name['train'] == ('train', 31, 16, 'vehicle', 7, True, False, (0, 80, 100))
  plate = ('license plate', -1, -1, 'vehicle', 7, False, True, (0, 0, 142))
  assert by_name['license plate'] == plate
  ids = [label.id for label in CITYSCAPES_LABELS if not label.ignore_in_eval]
  assert ids == [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]


def test_a_data_set_is_known_by_its_number_of_classes():
  assert [known_classes(n) for n in (19, 21, 150)] == [CITYSCAPES, VOC2012, ADE20K]
  assert known_classes(11) is None  # CamVid's number is too common to guess from
  assert numbered_classes(2).class_names == ('class_0', 'class_1')
