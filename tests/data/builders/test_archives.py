"""Archives are read exactly, or refused by a sentence that names the file in them."""

import dataclasses
import gzip
import io
import tarfile
import zipfile

import pytest
from hypothesis import given

from pspnet_jax.data.builders.archives import Archive, Download, read_tar_gz, text_of
from pspnet_jax.errors import UserError
from tests import tars
from tests.mutations import ends_well, fuzz, mutated

METHODS = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA
FILES = {'a/1.png': b'one' * 20, 'a/2.png': b'two' * 30, 'list.txt': b'1\n2\n'}


def items(files):
  return files.items() if isinstance(files, dict) else files


def zip_of(files=FILES, method=zipfile.ZIP_DEFLATED):
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, 'w', method) as archive:
    archive.mkdir('a')
    for name, data in items(files):
      archive.writestr(zipfile.ZipInfo(name), data, method)
  return buffer.getvalue()


def tar_of(files=FILES, mode='w:'):
  buffer = io.BytesIO()
  with tarfile.open(fileobj=buffer, mode=mode) as archive:
    for name, data in items(files):
      info = tarfile.TarInfo(name)
      info.size = len(data)
      archive.addfile(info, io.BytesIO(data))
  return buffer.getvalue()


def written(tmp_path, data):
  path = tmp_path / 'archive'
  path.write_bytes(data)
  return path


def read_all(path):
  archive = Archive(path)
  return {name: archive.read(name) for name in archive.names}


def patched(data, at, change):
  """A zip whose first file has other fields, in its own header and in the directory."""
  data = bytearray(data)
  for magic, offset in ((b'PK\3\4', at), (b'PK\1\2', at + 2)):
    i = data.rindex(magic) + offset  # of the last file
    data[i : i + 2] = change(int.from_bytes(data[i : i + 2], 'little')).to_bytes(2, 'little')
  return bytes(data)


@pytest.mark.parametrize('make', [zip_of, tar_of])
def test_files_are_found_and_read(tmp_path, make):
  archive = Archive(written(tmp_path, make()))
  assert read_all(archive.path) == FILES
  members = archive.members(r'a/(\d)\.png')
  assert [*members] == ['1', '2'] and members['2'].read() == FILES['a/2.png']


@pytest.mark.parametrize(
  'data, message',
  [
    (patched(zip_of(), 6, lambda flags: flags | 1), r'encrypted \(.*list\.txt.*encrypted'),
    (patched(zip_of(), 8, lambda method: 99), r'\(list\.txt: .*compression'),
    (patched(zip_of(), 8, lambda method: 12), r'\(list\.txt: '),
    (patched(zip_of(), 8, lambda method: 14), r'\(list\.txt: '),
    (zip_of().replace(b'PK\1\2', b'PK\1\3'), 'damaged'),
    (zip_of()[:-30], 'damaged'),
    (tar_of()[:600], 'damaged'),
    (tar_of()[:1540], r'list\.txt is cut short|damaged'),
    (b'<html>404</html>', 'damaged'),
    (b'', 'damaged'),
  ],
)
def test_what_cannot_be_read_names_the_file(tmp_path, data, message):
  with pytest.raises(UserError, match=f'{tmp_path}/archive is .*{message}.*download it again') as e:
    read_all(written(tmp_path, data))
  assert '\n' not in str(e.value)


@pytest.mark.parametrize('make', [zip_of, tar_of])
@pytest.mark.filterwarnings('ignore:Duplicate name')
def test_names_that_hide_each_other_or_cannot_be_shown_are_refused(tmp_path, make):
  pairs = [('a.png', b'1'), ('a.png', b'2')]
  with pytest.raises(UserError, match=r"archive holds 2 files called 'a\.png': "):
    Archive(written(tmp_path, make(pairs)))
  with pytest.raises(UserError, match=r"holds a file with the odd name '\\x1b\[2Ja\.png': "):
    Archive(written(tmp_path, make({'\x1b[2Ja.png': b''})))


def test_sizes_are_bounded_before_anything_is_unpacked(tmp_path, monkeypatch):
  monkeypatch.setenv('PSPNET_JAX_MAX_PIXELS', '20')
  for make in (zip_of, tar_of):
    archive = Archive(written(tmp_path, make({'ok.png': b'x' * 80, 'big.png': b'x' * 81})))
    assert len(archive.read('ok.png')) == 80
    with pytest.raises(UserError, match=r'archive/big\.png unpacks to 81 bytes, more than an imag'):
      archive.read('big.png')
  path = written(tmp_path, tar_of({'a': b'x' * 80, 'b': b'x' * 80, 'c': b'x' * 81}, 'w:gz'))
  assert read_tar_gz(path, '([ab])') == {'a': b'x' * 80, 'b': b'x' * 80}
  with pytest.raises(UserError, match='archive/c unpacks to 81 bytes'):
    read_tar_gz(path, '(.)')
  monkeypatch.setenv('PSPNET_JAX_MAX_BYTES', '100')
  with pytest.raises(UserError, match='unpacks to 160 bytes, and 100 is the limit'):
    read_tar_gz(path, '([ab])')


def test_a_tar_of_more_than_it_has_is_cut_short(tmp_path):
  data = bytearray(tar_of({'a': b'x'}))
  data[124:136] = b'\xff' * 12  # -1, as GNU tar writes numbers below zero
  data[148:156] = b'%06o\0 ' % (sum(data[:148]) + 8 * 32 + sum(data[156:512]))
  with pytest.raises(UserError, match='damaged'):
    read_all(written(tmp_path, bytes(data)))


@pytest.mark.parametrize('kind', tars.READ_IN_ONE_PIECE)
def test_a_header_takes_no_memory_that_it_only_claims(tmp_path, kind):
  data = tars.header(kind, 1 << 30) + bytes(1 << 16)
  for read, archive in ((read_all, data), (lambda x: read_tar_gz(x, '.*'), gzip.compress(data))):
    with pytest.raises(UserError, match=r'archive is damaged.*a header of .* bytes.*again'):
      read(written(tmp_path, archive))


def test_a_large_file_of_a_compressed_tar_is_whole(tmp_path):
  data = bytes(range(256)) * 40_000  # 10 MB, which is read in pieces
  path = written(tmp_path, tar_of({'a': data}, 'w:gz'))
  assert read_tar_gz(path, '(a)') == {'a': data}


def test_what_stands_in_for_an_archive_is_named(tmp_path):
  download = Download('data.zip', 'http://localhost', '1 B')
  assert download.find(tmp_path) is None
  (tmp_path / 'data.zip').mkdir()
  with pytest.raises(UserError, match=r'data\.zip is no file: put data\.zip there'):
    download.find(tmp_path)


@pytest.mark.parametrize(
  ('kind', 'digest'),
  [
    ('sha1', '01b307acba4f54f55aafc33bb06bbbf6ca803e9a'),
    ('md5', 'e807f1fcf82d132f9bb018ca6738a19f'),
  ],
)
def test_a_file_is_compared_with_the_checksum_that_is_published(tmp_path, kind, digest):
  path = written(tmp_path, b'1234567890')
  download = Download('archive', 'http://localhost', '10 B')
  download.verify(path)
  dataclasses.replace(download, **{kind: digest}).verify(path)
  path.write_bytes(b'1234567891')
  with pytest.raises(UserError, match=rf'is not the published archive \({kind} .* of {digest}\)'):
    dataclasses.replace(download, **{kind: digest}).verify(path)


def test_text_that_is_none_is_named():
  assert text_of('list', b'a') == 'a'
  with pytest.raises(UserError, match='list is no text: download'):
    text_of('list', b'\xff')


@fuzz
@given(mutated([*(zip_of(method=method) for method in METHODS), tar_of()]))
def test_mutated_archives_end_well(tmp_path_factory, data):
  path = tmp_path_factory.getbasetemp() / 'fuzzed'
  path.write_bytes(data)
  ends_well(read_all, path)


@fuzz
@given(mutated([tar_of(mode='w:gz'), tar_of()]))
def test_mutated_compressed_tars_end_well(tmp_path_factory, data):
  path = tmp_path_factory.getbasetemp() / 'fuzzed'
  path.write_bytes(data)
  ends_well(read_tar_gz, path, '(.*)')
