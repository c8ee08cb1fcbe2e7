import numpy as np
import pytest

from pspnet_jax.config import parts
from pspnet_jax.data.folder import Folder
from pspnet_jax.data.loader import train_batches
from pspnet_jax.data.rare_classes import RareClasses, count_class_pixels
from pspnet_jax.errors import UserError
from tests import planted, tiny

# Class 3 never occurs, class 2 is rare, and in image 3 it has a single pixel.
PIXELS = np.array([[90, 10, 0, 0], [100, 0, 0, 0], [50, 40, 10, 0], [99, 0, 1, 0]])


def test_probabilities_are_daformers():
  f = np.array([339, 50, 11]) / 400
  for temperature in (0.01, 0.1, 10.0):
    expected = np.exp((1 - f) / temperature) / np.exp((1 - f) / temperature).sum()
    chosen = RareClasses(PIXELS, temperature, 1).probabilities
    np.testing.assert_allclose(chosen, [*expected, 0], rtol=1e-9)


@pytest.mark.parametrize(
  ('min_pixels', 'of_class_2'), [(0, {2, 3}), (1, {2, 3}), (5, {2}), (1000, {2, 3})]
)
def test_images_are_drawn_as_their_classes(min_pixels, of_class_2):
  choose, rng = RareClasses(PIXELS, 0.001, min_pixels), np.random.default_rng(0)
  assert {choose(rng) for _ in range(50)} == of_class_2  # at this temperature, class 2 alone
  alike = RareClasses(PIXELS, 1e6, 1)
  drawn = np.bincount([alike(rng) for _ in range(6000)], minlength=4) / 6000
  # A third for each class: all four show class 0, two class 1, two class 2.
  np.testing.assert_allclose(drawn, [3 / 12, 1 / 12, 5 / 12, 3 / 12], atol=0.02)


def test_nothing_labelled():
  with pytest.raises(UserError, match='no training label'):
    RareClasses(np.zeros((3, 2), int), 0.01, 1)


class Labels:
  def __len__(self):
    return 4

  def __getitem__(self, index):
    return {'label': np.uint8([index])}


def test_the_stream_is_a_function_of_seed_and_step():
  choose = RareClasses(PIXELS, 0.3, 1)

  def ids(count, seed=1, **options):
    transform = lambda example, rng: {'id': example['label'], 'noise': rng.random(1)}  # noqa: E731
    stream = train_batches(
      Labels(), transform=transform, batch_size=4, seed=seed, choose=choose, **options
    )
    batches = [next(stream) for _ in range(count)]
    stream.close()
    return np.array([np.concatenate([b['id'][:, 0], b['noise'][:, 0]]) for b in batches])

  expected = ids(8)
  np.testing.assert_array_equal(ids(8, threads=5), expected)
  np.testing.assert_array_equal(ids(3, start_step=5, threads=0), expected[5:])
  assert (ids(8, seed=2) != expected).any()
  halves = [ids(8, process_index=i, process_count=2) for i in range(2)]
  np.testing.assert_array_equal(
    np.concatenate([half[:, :2] for half in halves], 1), expected[:, :4]
  )
  assert len(ids(1, start_step=10**7)) == 1


def test_pixels_are_counted_in_the_labels(tmp_path):
  planted.write_folder(tmp_path)
  source = Folder(str(tmp_path))
  counts = np.array(list(count_class_pixels(source, range(len(source)))))
  labels = [source[i]['label'] for i in range(len(source))]
  np.testing.assert_array_equal(counts, [[(x == c).sum() for c in range(4)] for x in labels])
  planted.lossy_mask(planted.Victims(tmp_path))
  with pytest.raises(UserError, match='JPEG'):
    list(count_class_pixels(source, range(len(source))))
  assert not next(count_class_pixels(source, range(len(source)), skip_bad=True)).any()


def test_counts_are_kept_in_the_workdir(tmp_path, monkeypatch):
  c = tiny.config(tmp_path, sampling__rare_class_temperature=0.05, sampling__rare_class_pixels=9)
  source = parts.open_split(c, 'train')
  first = parts.make_choice(c, source, tmp_path)
  monkeypatch.setattr(parts, 'count_class_pixels', None)
  again = parts.make_choice(c, source, tmp_path)
  np.testing.assert_array_equal(again.probabilities, first.probabilities)
  c.sampling.rare_class_temperature = 0.0
  assert parts.make_choice(c, source, tmp_path) is None
