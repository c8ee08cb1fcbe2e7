import numpy as np
import pytest
from PIL import Image

from pspnet_jax.data.palettes import default_palette, voc_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.pictures.labels import colour, confidence_map, ignore_colour, overlay, panel
from pspnet_jax.pictures.png_files import write_label

PAPER = (255, 255, 255)
SPEC = DatasetSpec(('sky', 'road', 'car'), ((70, 130, 180), (128, 64, 128), (0, 0, 142)))
LABEL = np.array([[0, 1, 2, 255], [2, 2, 1, 0]], np.uint8)


def many(count: int, name: str = 'class {}') -> DatasetSpec:
  palette = tuple((i, 255 - i, 7 * i % 256) for i in range(count))
  return DatasetSpec(tuple(name.format(i) for i in range(count)), palette)


def scene(height: int, width: int, count: int) -> tuple[np.ndarray, np.ndarray]:
  label = (np.arange(height * width) % count).astype(np.uint8).reshape(height, width)
  return np.full((height, width, 3), 100, np.uint8), label


@pytest.mark.parametrize('dtype', [np.uint8, np.int64])
def test_colour_follows_the_palette_and_ignored_is_black(dtype):
  picture = colour(LABEL.astype(dtype), SPEC)
  assert picture.dtype == np.uint8 and picture.shape == (2, 4, 3)
  assert [tuple(rgb) for rgb in picture[0].tolist()] == [*SPEC.palette, (0, 0, 0)]


@pytest.mark.parametrize(
  'palette, expected',
  [
    (SPEC.palette, (0, 0, 0)),
    (voc_palette(3), (255, 255, 255)),
    (default_palette(3), (0, 0, 0)),
    (((9, 9, 0), (250, 250, 255), (0, 255, 0)), (255, 0, 255)),
  ],
)
def test_ignored_pixels_are_told_from_every_class(tmp_path, palette, expected):
  spec = DatasetSpec(SPEC.class_names, palette)
  assert ignore_colour(spec) == expected
  assert tuple(colour(LABEL, spec)[0, 3].tolist()) == expected
  image = np.full((60, 60, 3), 100, np.uint8)
  halves = np.repeat(np.uint8([[0, 255]]), [30, 30], axis=1).repeat(60, 0)
  overlaid = overlay(image, halves, spec, legend=False, outlines=False)
  assert abs(overlaid[0, 0].astype(int) - overlaid[0, -1]).max() >= 32
  write_label(tmp_path / 'a.png', LABEL, spec)
  assert Image.open(tmp_path / 'a.png').convert('RGB').getpixel((3, 0)) == expected


def test_the_colours_of_the_most_classes_leave_one_for_ignored():
  many_classes = DatasetSpec(tuple(map(str, range(255))), voc_palette(255))
  assert ignore_colour(many_classes) not in many_classes.palette


@pytest.mark.parametrize('strange', [3, 254, -1, 256])
def test_an_id_without_class_is_a_user_error(strange, tmp_path):
  label = LABEL.astype(np.int32)
  label[1, 1] = strange
  with pytest.raises(UserError, match=f'id {strange} has no class: ids are 0 to 2'):
    colour(label, SPEC)
  with pytest.raises(UserError, match='has no class'):
    write_label(tmp_path / 'a.png', label, SPEC)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('label', [LABEL[None], LABEL.astype(np.float32), LABEL > 1])
def test_a_label_that_is_not_integers_hw_is_a_user_error(label):
  with pytest.raises(UserError, match='not integers'):
    colour(label, SPEC)


@pytest.mark.parametrize('rgb', [(1, 2), (0, 0, 256), (-1, 0, 0)])
def test_a_bad_palette_is_a_user_error(rgb):
  with pytest.raises(UserError, match="'a' is not three values"):
    colour(np.zeros((2, 2), np.uint8), DatasetSpec(('a', 'b'), (rgb, (0, 0, 0))))


def test_overlay_mixes_and_keeps_the_size_without_a_legend():
  image = np.full((2, 4, 3), 100, np.uint8)
  mixed = overlay(image, LABEL, SPEC, alpha=0.25, legend=False, outlines=False)
  assert mixed.shape == image.shape and mixed.dtype == np.uint8
  assert mixed[0, 0].tolist() == [round(75 + 0.25 * value) for value in SPEC.palette[0]]
  assert mixed[0, 3].tolist() == [75, 75, 75]
  np.testing.assert_array_equal(overlay(image, LABEL, SPEC, alpha=0, legend=False), image)
  with pytest.raises(UserError, match='alpha=2'):
    overlay(image, LABEL, SPEC, alpha=2)


def margins_are_clear(picture: np.ndarray, from_row: int) -> bool:
  """Whether nothing below `from_row` touches the picture's edges: nothing was cut off."""
  below = picture[from_row:]
  edges = [below[-1], below[:, 0], below[:, -1]]
  return all((edge == PAPER).all() for edge in edges)


@pytest.mark.parametrize('count', [2, 11, 150])
@pytest.mark.parametrize(
  ('height', 'width'), [(16, 16), (193, 193), (360, 480), (40, 900), (900, 40)]
)
@pytest.mark.parametrize('name', ['c{}', 'a class with a long name; and synonyms; number {}'])
def test_legends_are_not_cut_off(count, height, width, name):
  spec = many(count, name)
  image, label = scene(height, width, count)
  picture = overlay(image, label, spec, outlines=False)  # which may be white
  bottom = np.flatnonzero((picture == PAPER).all((1, 2)))[0]  # the legend's first row
  assert picture.dtype == np.uint8 and picture.shape[1] >= 384 and bottom >= height
  assert margins_are_clear(picture, bottom)
  sheet = panel(image, label, label, spec)
  assert sheet.shape[1] >= 384 and margins_are_clear(sheet, sheet.shape[0] - 30)


def swatches(picture: np.ndarray, spec: DatasetSpec) -> list[int]:
  """Ids whose colour fills a row of at least ten pixels."""
  flat = picture.reshape(-1, 3)
  runs = []
  for i, rgb in enumerate(spec.palette):
    hits = (flat == rgb).all(1)
    runs += [i] if (np.convolve(hits, np.ones(10)) == 10).any() else []
  return runs


def test_the_legend_lists_the_classes_present_only():
  image, label = scene(400, 600, 1)
  label[:10] = 2
  legend = overlay(image, label, SPEC)[400:]
  assert swatches(legend, SPEC) == [0, 2]


def test_small_images_are_enlarged_without_interpolation():
  image, label = scene(193, 193, 3)
  picture = overlay(image, label, SPEC, outlines=False)
  assert picture.shape[1] == 386
  plain = overlay(image, label, SPEC, legend=False, outlines=False)
  np.testing.assert_array_equal(picture[:386:2, ::2], plain)


def test_outlines_part_classes_and_fade_with_the_colours():
  image = np.full((60, 60, 3), 100, np.uint8)
  label = np.repeat(np.uint8([[0, 1]]), [30, 30], axis=1).repeat(60, 0)
  bare = overlay(image, label, SPEC, legend=False, outlines=False)
  lined = overlay(image, label, SPEC, legend=False)
  assert {*np.nonzero((bare != lined).any(-1))[1]} == {29}
  faint = overlay(image, label, SPEC, 0.1, legend=False)
  assert abs(faint[0, 29].astype(int) - faint[0, 28]).max() < 0.3 * 255
  np.testing.assert_array_equal(overlay(image, label, SPEC, 0, legend=False), image)


def test_highlighted_classes_alone_are_coloured_and_listed():
  image, label = scene(400, 600, 3)
  image[..., 0] = 200
  label = np.sort(label, 0)
  plain = overlay(image, label, SPEC, outlines=False)
  picture = overlay(image, label, SPEC, outlines=False, highlight=[1])
  np.testing.assert_array_equal(picture[:400][label == 1], plain[:400][label == 1])
  assert np.ptp(picture[:400][label != 1].astype(int), axis=-1).max() == 0  # grey
  assert swatches(picture[400:], SPEC) == [1]
  nothing = overlay(image, label, SPEC, legend=False, highlight=[])
  assert np.ptp(nothing.astype(int), axis=-1).max() == 0
  with pytest.raises(UserError, match='highlight=3 is no class: ids are 0 to 2'):
    overlay(image, label, SPEC, legend=False, highlight=[0, 3])


def test_confidence_is_shown_in_grey():
  picture = confidence_map(np.float32([[0, 0.5, 1, 1.0000001]]))
  assert picture.dtype == np.uint8
  assert picture[0].tolist() == [[grey] * 3 for grey in (0, 128, 255, 255)]
  with pytest.raises(UserError, match='not \\[H, W\\]'):
    confidence_map(np.zeros((2, 2, 3), np.float32))


def test_panel_takes_one_or_several_images_of_any_size():
  small, large = scene(60, 80, 3), scene(600, 500, 3)
  one = panel(small[0], small[1], small[1], SPEC)
  labels = [small[1], large[1]]
  two = panel([small[0], large[0]], labels, labels, SPEC)
  named = panel(small[0], small[1], small[1], SPEC, names=['frame 1'])
  unlabelled = panel(small[0], None, small[1], SPEC)
  assert two.shape[0] > one.shape[0] and named.shape[0] > one.shape[0]
  assert unlabelled.shape[1] < one.shape[1]
  batch = panel(small[0][None], small[1][None], small[1][None], SPEC)
  np.testing.assert_array_equal(batch, one)


def test_panel_reduces_large_images_and_keeps_label_colours_pure():
  image, label = scene(300, 400, 3)
  sheet = panel(image, label, label, SPEC, max_side=160)
  assert 3 * 160 < sheet.shape[1] < 3 * 170
  row = sheet[60, -90:-10]  # in the prediction
  assert {tuple(rgb) for rgb in row.tolist()} <= set(SPEC.palette)


def test_panel_refuses_what_does_not_belong_together():
  image, label = scene(20, 30, 3)
  with pytest.raises(UserError, match='differ in size'):
    panel(image, label, label[:, 1:], SPEC)
  with pytest.raises(UserError, match='differ in number'):
    panel([image, image], [label], [label, label], SPEC)
  with pytest.raises(UserError, match='differ in number'):
    panel(image, label, label, SPEC, names=['a', 'b'])
  with pytest.raises(UserError, match='not uint8'):
    panel(image / 255, label, label, SPEC)
