"""Which images make a submission, and archives that are there whole or not at all."""

import dataclasses

import pytest
from PIL import Image

from pspnet_jax.errors import UserError
from pspnet_jax.evaluation.official import submissions
from pspnet_jax.evaluation.official.benchmarks import BENCHMARKS

CITYSCAPES = BENCHMARKS['cityscapes']


def blank(path, size=(2048, 1024)):
  Image.new('RGB', size).save(path)


@pytest.mark.parametrize(
  ('spoil', 'message'),
  [
    (lambda root: blank(root / 'berlin_1.png'), 'not named after an image'),
    (
      lambda root: blank(root / 'berlin_000007_000019_x.png', (30, 20)),
      '30x20, and images of City',
    ),
    (lambda root: blank(root / 'berlin_000000_000019_y.png'), 'are one image to the server'),
    (
      lambda root: (root / 'berlin_000008_000019_x.png').write_text('no'),
      'not an image',
    ),
  ],
)
def test_images_unlike_the_benchmarks_are_named(tmp_path, spoil, message):
  benchmark = dataclasses.replace(CITYSCAPES, splits={'test': 1})
  blank(tmp_path / 'berlin_000000_000019_leftImg8bit.png')
  assert len(submissions.select(benchmark, tmp_path)) == 1
  spoil(tmp_path)
  with pytest.raises(UserError, match=message):
    submissions.select(benchmark, tmp_path, allow_partial=True)


def test_the_archive_says_what_it_can_be_called(tmp_path):
  with pytest.raises(UserError, match=r'must end in .zip or .tar.gz'):
    submissions.Submission(tmp_path / 'results.rar')
  (tmp_path / 'file').write_text('')
  with (
    pytest.raises(UserError, match='cannot write to'),
    submissions.Submission(tmp_path / 'file' / 'a.zip'),
  ):
    pass
