"""What the benchmarks call their files, and lists of them."""

from pathlib import Path

import pytest
from hypothesis import given

from pspnet_jax.errors import UserError
from pspnet_jax.evaluation.official.benchmarks import BENCHMARKS, read_names
from tests import mutations


def test_cityscapes_files_of_an_image_share_its_name():
  image = BENCHMARKS['cityscapes'].image
  assert image(Path('x/aachen_000000_000019_leftImg8bit.png')) == 'aachen_000000_000019'
  assert image(Path('aachen_000000_000019_gtFine_labelIds.png')) == 'aachen_000000_000019'
  assert image(Path('aachen_19.png')) is None


@pytest.mark.parametrize('name', BENCHMARKS)
def test_every_class_has_an_id_that_files_may_hold(name):
  benchmark = BENCHMARKS[name]
  assert len(set(benchmark.class_ids)) == benchmark.spec.num_classes
  assert min(benchmark.class_ids) >= 0 and max(benchmark.class_ids) < benchmark.num_ids
  assert next(iter(benchmark.splits)) == 'test'  # the one that is submitted


def test_a_list_takes_names_with_folders_extensions_and_labels(tmp_path):
  path = tmp_path / 'val.txt'
  path.write_text('JPEGImages/2007_000033.jpg  SegmentationClass/2007_000033.png\n\n2007_000042\n')
  assert read_names(path, BENCHMARKS['voc2012']) == ['2007_000033', '2007_000042']


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('', 'is empty: expected the name of an image'),
    ('aachen_000000_000019\naachen_000000_000019_leftImg8bit.png', r':2 names .* second time'),
    ('aachen', r"val\.txt:1 names no image of Cityscapes: 'aachen'"),
  ],
)
def test_lists_that_cannot_be_understood_are_located(tmp_path, text, message):
  (tmp_path / 'val.txt').write_text(text)
  with pytest.raises(UserError, match=message):
    read_names(tmp_path / 'val.txt', BENCHMARKS['cityscapes'])
  with pytest.raises(UserError, match='nowhere cannot be read'):
    read_names(tmp_path / 'nowhere', BENCHMARKS['cityscapes'])


SEEDS = (
  b'JPEGImages/2008_000001.jpg SegmentationClass/2008_000001.png\n2008_000002\n',
  'testing/ADE_test_00000001.jpg\r\n\r\nADE_test_00000002\r\n'.encode('utf-8-sig'),
  b'leftImg8bit/test/berlin/berlin_000000_000019_leftImg8bit.png\n',
)


@mutations.fuzz
@given(mutations.mutated(SEEDS))
def test_any_list_is_read_or_refused(tmp_path_factory, data):
  path = tmp_path_factory.getbasetemp() / 'list.txt'
  path.write_bytes(data)
  for benchmark in BENCHMARKS.values():
    names = mutations.ends_well(read_names, path, benchmark)
    assert names is None or len(set(names)) == len(names) > 0
