"""Lists as tools write them are read exactly, or refused with the line and the true cause."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pspnet_jax.data.layout import Layout
from pspnet_jax.data.list_files import pairs_of_list
from pspnet_jax.errors import UserError
from tests.data.folders import pairs_below, touch
from tests.mutations import ends_well, fuzz, mutated

VOC = Layout(image_folder='JPEGImages', label_folder='SegmentationClass')
A, B = ('images/a.jpg', 'labels/a.png'), ('images/b.jpg', 'labels/b.png')


@pytest.fixture
def root(tmp_path):
  touch(tmp_path, *A, *B, 'my images/a 1.jpg', 'my images/a 1.png', 'with,comma.jpg', '#1.jpg')
  return tmp_path


def read(root, text, split='', layout=VOC):
  data = text.encode() if isinstance(text, str) else text
  (root / 'list.txt').write_bytes(data)
  pairs, unpaired, notes = pairs_of_list(str(root), 'list.txt', split, layout)
  assert notes == []
  return pairs_below(root, pairs), [u.message for u in unpaired]


SPACED = 'my images/a 1.jpg', 'my images/a 1.png'


@pytest.mark.parametrize(
  'text, pairs',
  [
    ('images/b.jpg labels/b.png\n\nimages/a.jpg   labels/a.png', [B, A]),
    ('images/a.jpg\tlabels/a.png\t\n', [A]),
    ('images/a.jpg labels/a.png\t\r\n  images/b.jpg labels/b.png', [A, B]),
    ('my images/a 1.jpg\tmy images/a 1.png', [SPACED]),
    ('my images/a 1.jpg,my images/a 1.png', [SPACED]),
    ('"my images/a 1.jpg"; "my images/a 1.png"', [SPACED]),
    ('images/a.jpg, labels/a.png', [A]),
    ('with,comma.jpg labels/a.png', [('with,comma.jpg', 'labels/a.png')]),
    ('\ufeffimages/a.jpg labels/a.png', [A]),
    ('images/a.jpg labels/a.png\r\nimages/b.jpg labels/b.png\r\n'.encode('utf-16'), [A, B]),
    ('/images/a.jpg /labels/a.png', [A]),
    ('images\\a.jpg labels\\a.png\n\\images\\b.jpg \\labels\\b.png', [A, B]),
    ('# image label\n#images/b.jpg labels/b.png\n#\nimages/a.jpg labels/a.png', [A]),
    ('#1.jpg labels/a.png', [('#1.jpg', 'labels/a.png')]),
  ],
)
def test_what_tools_write_is_read_exactly(root, text, pairs):
  assert read(root, text) == (pairs, [])


def test_absolute_paths_that_exist_are_taken_as_they_are(root):
  assert read(root, f'{root}/images/a.jpg {root}/labels/a.png') == ([A], [])


def test_names_as_in_voc(root):
  touch(root, 'JPEGImages/2007_000032.jpg', 'SegmentationClass/2007_000032.png')
  touch(root, 'JPEGImages/x/my 1.jpg', 'SegmentationClass/x/my 1.png', 'JPEGImages/alone.jpg')
  pairs, unpaired = read(root, '2007_000032\nx/my 1\n', 'train')
  assert [image for image, _ in pairs] == ['JPEGImages/2007_000032.jpg', 'JPEGImages/x/my 1.jpg']
  assert unpaired == []
  _, unpaired = read(root, 'alone\nnobody')
  assert [message.partition(', line')[0] for message in unpaired] == [
    f'{root}/SegmentationClass/alone.png',
    f'{root}/JPEGImages/nobody.jpg',
    f'{root}/SegmentationClass/nobody.png',
  ]
  assert all('does not exist: check the data folder.' in message for message in unpaired)
  touch(root, 'JPEGImages/2007_000032.png')
  assert 'differ only in extension' in read(root, '2007_000032')[1][0]
  with pytest.raises(UserError, match=r'images/val does not exist'):
    read(root, '2007_000032', 'val', Layout())


def test_a_list_for_each_split(root):
  for split, pair in (('train', A), ('val', B)):
    (root / f'{split}.txt').write_text(' '.join(pair))
    pairs = pairs_of_list(str(root), '{split}.txt', split).pairs
    assert pairs_below(root, pairs) == [pair]


def test_a_share_of_one_list_is_the_validation_split(root):
  touch(root, *(f'{i}{end}' for i in range(40) for end in ('.jpg', '.png')))
  (root / 'all.txt').write_text('\n'.join(f'{i}.jpg {i}.png' for i in range(40)))
  layout = Layout(val_share=0.25)
  found = {s: pairs_of_list(str(root), 'all.txt', s, layout) for s in ('train', 'val')}
  assert sorted(found['train'].pairs + found['val'].pairs) == sorted(
    (root / f'{i}.jpg', root / f'{i}.png') for i in range(40)
  )
  assert 4 < len(found['val'].pairs) < 17
  assert f'{len(found["val"].pairs)} example(s) are the split val' in found['val'].notes[0]
  with pytest.raises(UserError, match='leaves none of 40 lines to val'):
    pairs_of_list(str(root), 'all.txt', 'val', Layout(val_share=1e-9))
  with pytest.raises(UserError, match='one list of all images'):
    pairs_of_list(str(root), '{split}.txt', 'val', layout)


@pytest.mark.parametrize(
  'text, message',
  [
    ('images/a.jpg labels/a.png\n\nimages/b.jpg', r'list\.txt:3 has an image and no label: '),
    ('images/a.jpg labels/a.png x', r'list\.txt:1 has 3 fields .* a tab between them'),
    ('a.jpg,b.png,c.png,', r'list\.txt:1 has'),
    ('2008_000002  1\n', r'list\.txt:1 says whether an image shows a class \(2008_000002  1\): '),
    ('image,label\nimages/a.jpg,labels/a.png', r'list\.txt:1 is a heading \(image,label\): remove'),
    ('images/a.jpg images/a.jpg', r'list\.txt:1 has .*images/a\.jpg as image and as label: '),
    (b'images/a.jpg labels/a.png\nimages/\xe9.jpg x', r'list\.txt:2 is not encoded in UTF-8: '),
    ('\n \n', r'list\.txt is empty: '),
    ('# nothing', r'list\.txt is empty: '),
  ],
)  # fmt: skip
def test_what_cannot_be_understood_is_refused_with_its_line(root, text, message):
  with pytest.raises(UserError, match=message):
    read(root, text)


@pytest.mark.parametrize(
  'text, message',
  [
    ('images/a.jpg labels/z.png', '{}/labels/z.png, line 1 of {}/list.txt, does not exist: '),
    ('\n/images/a.jpg /z.png', '/z.png, line 2 of {}/list.txt, exists neither as written nor in'),
    ('images/a.jpg, labels/z.png', '{}/labels/z.png, line 1 of'),
    ('images/a.jpg labels', '{}/labels, line 1 of {}/list.txt, is no file: '),
    ('images/a.jpg pipe.png', '{}/pipe.png, line 1 of {}/list.txt, is no file: '),
    ('images/a.jpg zero.png', '{}/zero.png, line 1 of {}/list.txt, is no file: '),
    ('images/a.jpg labels/a.png\n./images/a.jpg labels/a.png',
     '{}/images/a.jpg stands in lines 1 and 2 of {}/list.txt: remove one'),
    ('images/a.jpg labels/a.png\nimages/a.jpg labels/b.png',
     '{}/images/a.jpg stands with two labels in lines 1 and 2 of {}/list.txt: remove one'),
  ],
)  # fmt: skip
def test_what_is_missing_or_listed_twice_is_located(root, text, message):
  os.mkfifo(root / 'pipe.png')
  (root / 'zero.png').symlink_to('/dev/zero')
  _, [found] = read(root, text)
  assert found.startswith(message.replace('{}', str(root))) and found.endswith('.')


def test_names_are_found_however_accents_are_encoded(root):
  touch(root, 'cafe\u0301/a\u0308.jpg', 'caf\u00e9.png', 'JPEGImages/\u00e4.jpg')
  touch(root, 'SegmentationClass/a\u0308.png')
  pairs, unpaired = read(root, 'caf\u00e9/\u00e4.jpg cafe\u0301.png\n\u00e4')
  assert len(pairs) == 2 and unpaired == []
  touch(root, 'e\u0323\u0307.jpg', 'e\u0307\u0323.jpg')
  with pytest.raises(UserError, match=r'list\.txt:1 means one of 2 files called .* encoded'):
    read(root, '\u1eb9\u0307.jpg labels/a.png')


def test_a_list_that_is_no_file_is_not_waited_for(root):
  os.mkfifo(root / 'pipe')
  for name in ('pipe', 'images'):
    with pytest.raises(UserError, match=f'list file .*{name} is no file: '):
      pairs_of_list(str(root), name)
  with pytest.raises(UserError, match=r'nowhere cannot be read \(No such file'):
    pairs_of_list(str(root), 'nowhere')
  (root / 'long').write_bytes(b'x' * 100)
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv('PSPNET_JAX_MAX_BYTES', '99')
    with pytest.raises(UserError, match='long has 100 bytes, and 99 is the limit'):
      pairs_of_list(str(root), 'long')


SEEDS = [
  b'images/a.jpg labels/a.png\nimages/b.jpg\tlabels/b.png\t\r\n',
  b'\xef\xbb\xbf# image label\nimages\\a.jpg,"labels/a.png"\n/images/b.jpg;/labels/b.png',
  b'2007_000032\ncaf\xc3\xa9\n',
  'images/a.jpg labels/a.png\r\n'.encode('utf-16'),
]


@pytest.fixture(scope='module')
def many(tmp_path_factory):
  root = tmp_path_factory.mktemp('lists')
  touch(root, *A, *B, 'JPEGImages/2007_000032.jpg', 'SegmentationClass/2007_000032.png')
  touch(root, 'JPEGImages/cafe\u0301.jpg', 'SegmentationClass/caf\u00e9.png')
  return root


@fuzz
@given(mutated(SEEDS), st.sampled_from((VOC, Layout())))
def test_mutated_lists_end_well(many, data, layout):
  (many / 'list.txt').write_bytes(data)
  found = ends_well(pairs_of_list, str(many), 'list.txt', 'train', layout)
  for unpaired in found.unpaired if found else ():
    assert unpaired.message.endswith('.') and '\n' not in unpaired.message
