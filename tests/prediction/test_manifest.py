"""The manifest as a table that other programs read."""

import json
import sys

import pytest

from pspnet_jax.errors import UserError
from pspnet_jax.prediction.areas import Area
from pspnet_jax.prediction.manifest import Row, arrow, name_of, read, table_of, text_of, write

pq = pytest.importorskip('pyarrow.parquet')

ROWS = [
  Row('a.jpg', 'labels/a.png', Area(8, 6, (40, 0, 8)), 0.25, 99, 1_700_000_000_123_456_789, 'ab'),
  Row(text_of('caf\udce9.jpg'), error='it is empty', attempts=3),
]


def test_rows_become_columns_with_types_and_names_of_classes(tmp_path):
  write(tmp_path / 'a' / 'm.parquet', table_of(ROWS, ['sky', 'röad']))
  table = pq.read_table(tmp_path / 'a' / 'm.parquet')
  assert json.loads(table.schema.metadata[b'class_names']) == ['sky', 'röad']
  assert table['path'].to_pylist() == ['a.jpg', r'caf\xe9.jpg']
  assert table['pixels'].to_pylist() == [[40, 0], None] and table['ignored'].to_pylist() == [
    8,
    None,
  ]
  assert (table['height'][0].as_py(), table['width'][0].as_py()) == (6, 8)
  assert table['modified'].cast('int64').to_pylist() == [1_700_000_000_123_456_789, None]
  assert str(table.schema.field('modified').type) == 'timestamp[ns, tz=UTC]'
  assert table['error'].to_pylist() == [None, 'it is empty']
  assert table['attempts'].to_pylist() == [1, 3]
  assert read(tmp_path / 'a' / 'm.parquet').equals(table)


def test_no_two_names_are_one_in_the_table():
  names = ['\udce9.jpg', r'\xe9.jpg', r'\\xe9.jpg', 'é.jpg']
  assert [name_of(x) for x in names] == [r'\xe9.jpg', r'\\xe9.jpg', r'\\\\xe9.jpg', 'é.jpg']


def test_other_files_are_no_manifests(tmp_path):
  import pyarrow as pa

  path = tmp_path / 'm.parquet'
  path.write_bytes(b'PAR1, cut off')
  with pytest.raises(UserError, match='cannot be read as a manifest: remove it'):
    read(path)
  pq.write_table(pa.table({'path': ['a']}), path)
  with pytest.raises(UserError, match='no manifest of ours: give another --output'):
    read(path)


def test_without_pyarrow_there_is_a_sentence(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'pyarrow', None)
  with pytest.raises(
    UserError, match=r"m\.parquet is Parquet, .*pip install 'pspnet_jax\[scale\]'"
  ):
    arrow(tmp_path / 'm.parquet')
