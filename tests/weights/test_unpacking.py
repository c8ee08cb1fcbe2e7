"""Archives with one weight file in them, and archives that are something else."""

import gzip
import io
import tarfile
import zipfile

import pytest
from hypothesis import given

from pspnet_jax.errors import UserError
from pspnet_jax.weights.unpacking import unpack
from tests import tars
from tests.mutations import ends_well, fuzz, mutated

CONTENT = bytes(range(256)) * 40


def zipped(**members) -> bytes:
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED) as archive:
    for name, content in members.items():
      archive.writestr(name, content)
  return buffer.getvalue()


def tarred(**members) -> bytes:
  buffer = io.BytesIO()
  with tarfile.open(fileobj=buffer, mode='w:gz') as archive:
    for name, content in members.items():
      entry = tarfile.TarInfo(name)
      entry.size = len(content)
      archive.addfile(entry, io.BytesIO(content))
  return buffer.getvalue()


@pytest.fixture(params=[zipped, tarred])
def pack(request):
  return request.param


def unpacked(tmp_path, data, suffix='.params'):
  (tmp_path / 'archive').write_bytes(data)
  unpack(tmp_path / 'archive', suffix, tmp_path / 'out/net.params')
  return (tmp_path / 'out/net.params').read_bytes()


def test_the_file_is_found_by_its_ending(pack, tmp_path):
  data = pack(**{'model/read.me': b'x', 'model/net-1.params': CONTENT, 'other.params': b'y'})
  assert unpacked(tmp_path, data) == CONTENT


def test_its_name_decides_on_nothing(pack, tmp_path):
  assert unpacked(tmp_path, pack(**{'../../evil.params': CONTENT})) == CONTENT
  assert {path.name for path in tmp_path.rglob('*')} == {'archive', 'out', 'net.params'}


def test_archives_of_something_else_are_named(pack, tmp_path):
  with pytest.raises(UserError, match=r'archive holds no file that ends with \.params'):
    unpacked(tmp_path, pack(**{'a.txt': b'x'}))
  for damaged in (pack(a=CONTENT)[:40], b'<html>', b''):
    with pytest.raises(UserError, match='is damaged or no archive: download it again'):
      unpacked(tmp_path, damaged)
  assert not (tmp_path / 'out/net.params').exists()


def test_what_unpacks_to_too_much_is_left(pack, tmp_path, monkeypatch):
  monkeypatch.setenv('PSPNET_JAX_MAX_BYTES', '30000')
  large = bytes(100_000)  # a few bytes once packed
  for members in ({'a.params': large}, {'first': large, 'a.params': CONTENT}):
    if pack is zipped and 'first' in members:
      continue  # what is not asked for is not unpacked
    with pytest.raises(UserError, match=r'unpacks to .* bytes, and 30,000 is the limit'):
      unpacked(tmp_path, pack(**members))
  assert not (tmp_path / 'out/net.params').exists()


def test_a_header_takes_no_memory_that_it_only_claims(tmp_path):
  data = gzip.compress(tars.header(tarfile.XHDTYPE, 1 << 30) + bytes(1 << 16))
  with pytest.raises(UserError, match='is damaged or no archive: download it again'):
    unpacked(tmp_path, data)


@fuzz
def test_mutated_archives(tmp_path_factory):
  folder = tmp_path_factory.mktemp('fuzz')
  members = {'a.txt': b'x', 'net.params': CONTENT}

  @given(mutated([zipped(**members), tarred(**members)]))
  def one(data):
    ends_well(unpacked, folder, data)

  one()
