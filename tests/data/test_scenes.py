from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from pspnet_jax.data import scene_drawing
from pspnet_jax.data.scene_drawing import VEHICLE_OF, draw_scene
from pspnet_jax.data.scenes import CONTEXT_CLASSES, SPEC, ContextScenes
from pspnet_jax.errors import UserError

ID = {name: i for i, name in enumerate(SPEC.class_names)}
SIZES = [(193, 193), (97, 97), (32, 32), (385, 513), (60, 201), (121, 64)]


def drawn(seed, evidence, size=(193, 193)):
  return draw_scene(np.random.default_rng(seed), np.random.default_rng(99), [evidence], size)


def same(a, b):
  return a['name'] == b['name'] and all((a[key] == b[key]).all() for key in ('image', 'label'))


def test_a_scene_depends_on_seed_split_and_index_alone():
  scenes = ContextScenes(length=8)
  forwards = [scenes[i] for i in range(8)]
  backwards = [ContextScenes(length=20)[i] for i in reversed(range(8))][::-1]
  with ThreadPoolExecutor(4) as pool:
    threaded = list(pool.map(scenes.__getitem__, [*range(8)] * 4))
  assert all(map(same, forwards, backwards))
  assert all(map(same, forwards * 4, threaded))


def test_scenes_of_other_seeds_splits_and_indices_differ():
  sources = [ContextScenes(split, length=4, seed=s) for split in ('train', 'val') for s in (0, 1)]
  images = [scene['image'] for source in sources for scene in source]
  assert len({image.tobytes() for image in images}) == len(images) == 16


def test_names_are_unique_and_lengths_as_promised():
  train, val = ContextScenes('train', (32, 32)), ContextScenes('val', (32, 32))
  assert (len(train), len(val), len(ContextScenes(length=3))) == (4096, 200, 3)
  assert len({scene['name'] for scene in val}) == 200


@pytest.mark.parametrize('size', SIZES)
def test_any_size(size):
  scene = ContextScenes(size=size)[np.int64(3)]
  assert scene['image'].shape == (*size, 3) and scene['label'].shape == size
  assert scene['image'].dtype == scene['label'].dtype == np.uint8
  assert scene['image'].flags.c_contiguous and scene['label'].flags.c_contiguous
  assert scene['label'].max() < SPEC.num_classes


def test_the_size_leaves_the_picture_as_it_is():
  large, small = (ContextScenes(size=size)[5] for size in ((386, 386), (193, 193)))
  shrunk = cv2.resize(large['image'], (193, 193), interpolation=cv2.INTER_AREA)
  assert abs(shrunk.astype(int) - small['image']).mean() < 6  # the grain alone makes 3
  assert (large['label'][::2, ::2] == small['label']).mean() > 0.97


def test_every_pixel_has_a_class_and_every_class_has_pixels():
  labels = [ContextScenes('val')[i]['label'] for i in range(50)]
  counts = np.stack([np.bincount(x.ravel(), minlength=SPEC.num_classes) for x in labels])
  assert counts.sum() == 50 * 193 * 193
  share = counts.sum(0) / counts.sum()
  assert share.min() > 0.01 and share.max() < 0.4
  assert ((counts > 150).mean(0) > 0.3).all()  # a fair number of scenes has a fair piece


@pytest.mark.parametrize('seed', range(12))
def test_only_the_evidence_tells_a_boat_from_a_car(seed):
  (water_image, water_label), (road_image, road_label) = (drawn(seed, x) for x in VEHICLE_OF)
  evidence = water_label == ID['water']
  assert (evidence == (road_label == ID['road'])).all() and evidence.any()
  blurred = cv2.dilate(evidence.astype(np.uint8), np.ones((3, 3))) > 0
  assert (water_image == road_image)[~blurred].all()
  assert abs(water_image.astype(int) - road_image)[evidence].mean() > 10

  vehicles = water_label == ID['boat']
  assert (vehicles == (road_label == ID['car'])).all() and vehicles.any()
  assert (water_label == road_label)[~(evidence | vehicles)].all()


@pytest.mark.parametrize('size', SIZES)
def test_the_evidence_is_far_from_the_vehicles_and_they_agree(size):
  seen, sides = set(), set()
  for i in range(40):
    label = ContextScenes('val', size)[i]['label']
    ids = set(np.unique(label))
    (evidence,) = [name for name in VEHICLE_OF if ID[name] in ids]
    (vehicle,) = [name for name in CONTEXT_CLASSES if ID[name] in ids]
    assert VEHICLE_OF[evidence] == vehicle
    near = np.nonzero((label == ID[evidence]).any(0))[0]
    far = np.nonzero((label == ID[vehicle]).any(0))[0]
    assert max(far.min() - near.max(), near.min() - far.max()) > 0.5 * size[1]
    seen.add(vehicle)
    sides.add(near.min() == 0)
  assert seen == set(CONTEXT_CLASSES) and sides == {True, False}


def test_of_two_banks_each_decides_for_its_half():
  seen = set()
  for i in range(30):
    label = ContextScenes('val', (97, 193), banks=2)[i]['label']
    kinds = []
    for half in (label[:, :96], label[:, :96:-1]):  # from its edge inwards
      (evidence,) = [name for name in VEHICLE_OF if (half == ID[name]).any()]
      (vehicle,) = [name for name in CONTEXT_CLASSES if (half == ID[name]).any()]
      assert VEHICLE_OF[evidence] == vehicle
      shore = np.nonzero((half == ID[evidence]).any(0))[0].max()
      columns = np.nonzero((half == ID[vehicle]).any(0))[0]
      assert columns.min() - shore > 0.02 * 193 and columns.max() - shore < 0.45 * 193
      kinds.append(evidence)
    seen.add(tuple(kinds))
  assert len(seen) == 4


def test_a_bank_changes_nothing_but_itself_and_the_vehicles_of_its_half():
  def two(right):
    return draw_scene(
      np.random.default_rng(3), np.random.default_rng(99), ['water', right], (97, 193)
    )

  (image, label), (other_image, other_label) = two('water'), two('road')
  changed = np.nonzero((label != other_label).any(0) | (image != other_image).any((0, 2)))[0]
  assert changed.size and (changed.min() > 96 or changed.max() < 96)


@pytest.mark.parametrize('seed', range(6))
def test_the_foot_of_a_wall_does_not_tell_a_building_from_a_skyscraper(seed, monkeypatch):
  image, label = drawn(seed, 'road')
  monkeypatch.setattr(scene_drawing, '_SKYSCRAPER_HEIGHT', scene_drawing._BUILDING_HEIGHT)
  low_image, low_label = drawn(seed, 'road')
  foot = slice(96, None)  # below the lowest roof there can be
  assert (image[foot] == low_image[foot]).all()
  assert (label[foot] == low_label[foot]).all()
  if (label == ID['skyscraper']).any():
    assert (label == ID['skyscraper']).sum() > (low_label == ID['skyscraper']).sum()


@pytest.mark.parametrize('index', [-1, 3, 10**9])
def test_an_index_outside_raises(index):
  with pytest.raises(IndexError):
    ContextScenes(length=3)[index]


def test_iteration_ends():
  assert len(list(ContextScenes(size=(32, 32), length=3))) == 3


@pytest.mark.parametrize(
  ('options', 'named'),
  [
    ({'split': 'test'}, "'test'"),
    ({'size': (193,)}, 'size='),
    ({'size': (193, 31)}, 'size='),
    ({'length': 0}, 'length=0'),
    ({'seed': -1}, 'seed=-1'),
    ({'banks': 3}, 'banks=3'),
  ],
)
def test_bad_arguments_are_named(options, named):
  with pytest.raises(UserError, match=named):
    ContextScenes(**options)
