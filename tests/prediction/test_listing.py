"""What a job is about, as people name it."""

from pathlib import Path

import pytest

from pspnet_jax.errors import UserError
from pspnet_jax.prediction.listing import read


@pytest.fixture
def photos(tmp_path):
  for name in ('a/1.jpg', 'a/2.PNG', 'b/1.jpg', 'b/notes.txt', 'b/deep/3.jpg'):
    path = tmp_path / 'in' / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
  return tmp_path / 'in'


def test_a_folder_has_all_images_below_it(photos):
  found = read(photos)
  assert found.ids == ['a/1.jpg', 'a/2.PNG', 'b/1.jpg', 'b/deep/3.jpg']
  assert found.paths == [photos / x for x in found.ids] and found.names == [*map(Path, found.ids)]
  assert found.left_aside == {photos / 'b/notes.txt': '.txt'}
  assert read(photos / 'a' / '1.jpg').ids == ['1.jpg']


@pytest.mark.parametrize(
  ('pattern', 'ids', 'aside'),
  [
    ('*/1.jpg', ['a/1.jpg', 'b/1.jpg'], []),
    ('b/*', ['1.jpg'], ['.txt']),
    ('**/*.jpg', ['a/1.jpg', 'b/1.jpg', 'b/deep/3.jpg'], []),
    ('[ab]/**', ['a/1.jpg', 'a/2.PNG', 'b/1.jpg', 'b/deep/3.jpg'], ['.txt']),
  ],
)
def test_a_pattern_names_images_below_the_part_without_wildcards(photos, pattern, ids, aside):
  found = read(photos / pattern)
  assert found.ids == ids and [*found.left_aside.values()] == aside
  assert all(path.is_file() for path in found.paths)


def test_links_in_circles_count_once(photos):
  (photos / 'b' / 'again').symlink_to(photos)
  found = read(photos / '**' / '1.jpg')
  assert found.ids == ['a/1.jpg', 'b/1.jpg']
  assert {*found.left_aside.values()} == {'file by another name'}


def test_a_folder_whose_name_looks_like_a_pattern_is_a_folder(photos):
  photos.rename(photos.with_name('[in]'))
  assert len(read(photos.with_name('[in]')).ids) == 4


@pytest.mark.parametrize(
  ('pattern', 'says'),
  [
    ('*.tif', 'matches no image, and nothing else: *'),
    ('b/*.txt', r'matches no image but 1 \.txt: \*'),
    ('*', r'matches no image: \*'),
    ('nowhere', 'nowhere does not exist'),
  ],
)
def test_what_matches_nothing_is_said(photos, pattern, says):
  with pytest.raises(UserError, match=says):
    read(photos / pattern)


def write_list(path, ids):
  if path.suffix == '.parquet':
    pa = pytest.importorskip('pyarrow')
    import pyarrow.parquet as pq

    pq.write_table(pa.table({'camera': [1] * len(ids), 'path': ids}), path)
  elif path.suffix == '.csv':
    path.write_text('\ufeffcamera,path\r\n' + ''.join(f'1,"{x}"\r\n' for x in ids))
  else:
    path.write_text('\ufeff' + '\n\n'.join(ids))
  return path


LISTS = ['list.txt', 'list.csv', 'list.parquet']


@pytest.mark.parametrize('name', LISTS)
def test_a_list_names_images_below_its_folder_in_its_words(photos, name):
  ids = ['b/1.jpg', './a/1.jpg', 'missing, but listed.jpg']
  found = read(write_list(photos / name, ids))
  assert found.ids == ids and found.paths[0] == photos / 'b/1.jpg'
  assert [*map(str, found.names)] == ['b/1.jpg', 'a/1.jpg', 'missing, but listed.jpg']


@pytest.mark.parametrize('name', LISTS)
def test_no_name_in_a_list_leads_out_of_the_results(photos, name):
  ids = ['../a/1.jpg', str(photos / 'b/deep/3.jpg')]
  found = read(write_list(photos / 'b' / name, ids))
  assert found.ids == ids and [*map(str, found.names)] == ['a/1.jpg', 'b/deep/3.jpg']


@pytest.mark.parametrize('name', LISTS)
@pytest.mark.parametrize(
  ('ids', 'says'),
  [
    ([], 'names no image'),
    (['a/1.jpg', 'b/1.jpg', 'a/1.jpg'], 'names a/1.jpg twice: name each'),
    (['a/1.jpg', './a/1.jpg'], r'a/1\.jpg twice, in other words'),
    (['x.jpg', 'y.jpg'], r'names 2 image\(s\), and none is there'),
  ],
)
def test_a_list_that_cannot_be_meant_is_refused(photos, name, ids, says):
  with pytest.raises(UserError, match=says):
    read(write_list(photos / name, ids))


def test_tables_without_paths_are_refused(photos):
  pytest.importorskip('pyarrow')
  table = photos / 'x.csv'
  table.write_text('file,camera\n1,2\n')
  with pytest.raises(UserError, match='has no column path, but file, camera: name'):
    read(table)
  table.write_text('')
  with pytest.raises(UserError, match='no column path, but none'):
    read(table)
  wrong = photos / 'x.parquet'
  wrong.write_bytes(b'PAR1')
  with pytest.raises(UserError, match='is no Parquet file'):
    read(wrong)
  import pyarrow as pa
  import pyarrow.parquet as pq

  pq.write_table(pa.table({'path': [1, None]}), wrong)
  with pytest.raises(UserError, match='values that are no text'):
    read(wrong)
  pq.write_table(pa.table({'image': ['a']}), wrong)
  with pytest.raises(UserError, match='has no column path, but image'):
    read(wrong)
