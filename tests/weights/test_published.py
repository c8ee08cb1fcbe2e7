"""A name becomes a file, and the network of its authors."""

import dataclasses
import hashlib

import numpy as np
import pytest

import pspnet_jax
from pspnet_jax.data.known_classes import known_classes, numbered_classes
from pspnet_jax.data.remote_sensing import ISAID, ISPRS
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.inference.protocol import MMSEG, MMSEG_SLIDE
from pspnet_jax.models.network import Network
from pspnet_jax.training.init_from import start_from
from pspnet_jax.weights import catalogue, download, importing, published
from pspnet_jax.weights.foreign import gluoncv, paddleseg, sssegmentation
from tests.weights import rebuilt_more, served
from tests.weights.file_server import serve
from tests.weights.served import OPTIONS
from tests.weights.test_importing import draw, error, logits, torch_logits
from tests.weights.test_unpacking import tarred, zipped

ENTRIES = catalogue.entries()


@pytest.fixture(scope='module')
def model():
  return served.net()


@pytest.fixture
def names(model, tmp_path, monkeypatch):
  with served.two_names(model, tmp_path / 'cache', monkeypatch) as entries:
    yield entries


def test_files_without_an_address_are_explained():
  with pytest.raises(UserError, match=r'github.com/hszhao/PSPNet links, .*convert --input=FILE'):
    published.load(ENTRIES['caffe_pspnet50_ade20k'])


def test_a_backbone_is_no_network():
  with pytest.raises(UserError, match=r'--config\.init_from=resnet50_v1c'):
    pspnet_jax.load_pretrained('resnet50_v1c')


def test_a_name_becomes_the_network_of_its_authors(names, model):
  converted, image = published.load(names['net']), draw(64, 72)
  assert error(logits(converted, image), torch_logits(model, image)) < 2e-5
  card = converted.card
  assert card.crop_size == (48, 64) and card.spec.class_names == tuple('abcde')
  file = download.cached(names['net'].address)
  assert card.source == {
    'name': 'mmseg',
    'files': {'net.pth': f'sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}'},
    'zoo': 'net',
    'address': names['net'].address,
  }
  assert card.published['mIoU'] == 73.88 and card.published['mIoU_ms'] == 76.85
  assert card.published['source'].endswith('v1.2.2/configs/pspnet/metafile.yaml')
  assert Card.from_json(card.to_json()) == card


def test_protocols_are_those_of_the_configs():
  whole = published.protocol(ENTRIES['pspnet_r50-d8_4xb4-80k_ade20k-512x512'])
  assert whole == MMSEG and whole.scaled_size((512, 683), 1.0) == (512, 683)
  slid = published.protocol(ENTRIES['pspnet_r50-d8_4xb2-80k_cityscapes-769x769'])
  assert slid.window == (769, 769) and slid.stride == 513 / 769
  assert slid.scaled_size((1024, 2048), 1.0) == (1025, 2049)
  assert dataclasses.replace(slid, window='crop', base_size=(2048, 512)) == MMSEG_SLIDE
  context = published.protocol(ENTRIES['pspnet_r101-d8_4xb4-40k_pascal-context-480x480'])
  assert context.base_size == (520, 520) and context.window == (480, 480)
  assert round(context.stride * 480) == 320


def test_protocols_of_other_sources_are_theirs():
  def of(name, classes):
    entry = ENTRIES[name]
    origin = {'paddleseg': paddleseg, 'gluoncv': gluoncv, 'sssegmentation': sssegmentation}
    known = origin[entry.source].conventions(entry.depth, classes, None, entry.output_stride)
    return published.protocol(entry, known.protocol), known

  padded, known = of('pspnet_resnet50_os8_voc12aug_512x512_40k', 21)
  assert (padded.window, padded.padding, known.crop_size) == ('crop', 'end', (512, 512))
  assert known.mean == known.std == (127.5, 127.5, 127.5) and known.network['avg_down']
  whole, known = of('pspnet_resnet101_os8_cityscapes_1024x512_80k', 19)
  assert (whole.window, whole.resize, known.crop_size) == ('image', 'none', (512, 1024))
  boxed, _ = of('pspnet_resnet101os16_cityscapes', 19)
  assert boxed == dataclasses.replace(MMSEG, base_size=(2048, 1024))
  assert of('pspnet_resnet50os8_ade20k', 150)[0] == MMSEG
  whole, known = of('psp_resnet101_citys', 19)
  assert whole.window == 'image' and known.network['align_corners']
  assert known.crop_size == ENTRIES['psp_resnet101_citys'].crop_size == (768, 768)


@pytest.fixture
def cache(tmp_path, monkeypatch):
  monkeypatch.setenv('PSPNET_JAX_CACHE', str(tmp_path / 'cache'))
  monkeypatch.setenv('no_proxy', '127.0.0.1')
  return tmp_path / 'cache'


def without_checksum(address):
  return dataclasses.replace(ENTRIES['pspnet_resnet50os8_ade20k'], name='own', address=address)


def test_without_a_checksum_the_first_file_is_the_one_it_stays(cache):
  with serve(b'one' * 1000, 'own.pth') as server:
    entry = without_checksum(server.address)
    assert 'No checksum of own is published' in published.cautions(entry)[0]
    path = published.fetch(entry)
    seen = cache / 'own.pth.sha256'
    assert seen.read_text() == hashlib.sha256(path.read_bytes()).hexdigest()
    assert published.fetch(entry) == path and len(server.requests) == 1
    path.write_bytes(b'damaged')
    assert published.fetch(entry).read_bytes() == b'one' * 1000
    path.write_bytes(b'damaged')
    server.content = b'another'
    with pytest.raises(UserError, match=r'is not the file that came first.* remove .*pth\.sha256'):
      published.fetch(entry)
    seen.write_text('../x')
    with pytest.raises(UserError, match='holds no SHA-256: remove it'):
      published.fetch(entry)
    seen.unlink()
    path.unlink()
    assert published.fetch(entry).read_bytes() == b'another'


def test_without_a_checksum_nothing_that_was_left_is_gone_on_with(cache):
  cache.mkdir()
  (cache / 'own.pth.part').write_bytes(b'two')
  with serve(b'one' * 1000, 'own.pth') as server:
    assert published.fetch(without_checksum(server.address)).read_bytes() == b'one' * 1000


def test_a_file_in_an_archive_is_checked_by_the_checksum_of_its_own(cache):
  content = b'weights' * 1000
  packed = zipped(**{'psp-1234.params': content})
  with serve(packed, 'psp-1234.zip') as server:
    known = {'address': server.address, 'sha1': hashlib.sha1(content).hexdigest()}
    entry = dataclasses.replace(ENTRIES['psp_resnet50_ade'], name='psp', **known)
    assert published.cautions(entry) == ()
    path = published.fetch(entry)
    assert path == cache / 'psp.params' and path.read_bytes() == content
    assert {p.name for p in cache.iterdir()} == {'psp.params'}
    assert published.fetch(entry) == path and len(server.requests) == 1
    path.unlink()
    other = dataclasses.replace(entry, sha1='0' * 40)
    with pytest.raises(UserError, match='does not have the checksum sha1:0000'):
      published.fetch(other)
    assert not list(cache.iterdir())


def test_a_run_starts_from_a_backbone_in_an_archive(cache, tmp_path, monkeypatch):
  state = rebuilt_more.Paddle(50, 5, width=4).state()
  alone = {n.removeprefix('backbone.'): x for n, x in state.items() if n.startswith('backbone.')}
  file = rebuilt_more.paddle_file(tmp_path / 'model.pdparams', alone)
  packed = tarred(**{'vd/model.pdparams': file.read_bytes()})
  with serve(packed, 'vd.tar.gz') as server:
    entry = dataclasses.replace(ENTRIES['resnet50_vd_ssld_v2'], name='vd', address=server.address)
    monkeypatch.setattr(catalogue, 'entries', lambda: {'vd': entry})
    options = {'depth': 50, 'stem_channels': (2, 2, 4)}
    card, params, stats = fresh(5, **options, dilations=None, avg_down=True)
    new, _, notes = start_from('vd', card, params, stats)
  kernel = alone['bb_1_0.short._conv.weight'].transpose(2, 3, 1, 0)
  np.testing.assert_array_equal(new['backbone/stage2/0/projection/conv/kernel'], kernel)
  assert notes[0] == 'Starting from vd.' and 'No checksum of vd is published' in notes[1]
  assert notes[2:] == ['Not taken from there, but fresh: all but the backbone.']
  assert {p.name for p in cache.iterdir()} == {'vd.pdparams', 'vd.pdparams.sha256'}


def test_a_network_without_a_checksum_says_so_in_its_card(cache, tmp_path):
  image = draw(56, 72)
  (file,) = rebuilt_more.Sssegmentation(50, 5, width=8).fill(image).write(tmp_path)
  with serve(file.read_bytes(), 'own.pth') as server:
    converted = published.load(without_checksum(server.address))
  assert 'No checksum of own is published' in converted.describe()
  assert converted.card.source['notes'] == converted.notes


def test_where_a_file_names_no_classes_they_are_those_of_its_data_set():
  whole = {name: entry for name, entry in ENTRIES.items() if not entry.is_backbone}
  assert len(whole) == 86
  by_number = set()
  for name, entry in whole.items():
    unnamed = published.classes(entry)
    count = catalogue.DATASETS[entry.data][1]
    nameless = importing.ForeignWeights(None, {}, {}, name)
    assert importing.classes_of(nameless, count, unnamed) == (unnamed, ())
    if entry.source != 'mmseg' and known_classes(count) != unnamed:  # mmseg's files name them
      by_number.add((name, unnamed.class_names))
  assert by_number == {
    ('pspnet_resnet50_vd_isaid_512x512_80k', ISAID.class_names),
    ('pspnet_resnet50_vd_potsdam_512x512_80k', ISPRS.class_names),
  }


def test_a_file_without_names_of_classes_gets_those_of_its_entry(cache, tmp_path):
  state = rebuilt_more.Paddle(50, 6, width=8).state()
  content = rebuilt_more.paddle_file(tmp_path / 'model.pdparams', state).read_bytes()
  with serve(content, 'model.pdparams') as server:
    entry = ENTRIES['pspnet_resnet50_vd_potsdam_512x512_80k']
    converted = published.load(dataclasses.replace(entry, address=server.address))
  assert converted.card.spec == ISPRS
  assert '6 classes: impervious_surface, building, low_vegetation' in converted.describe()


def fresh(num_classes, **changes):
  """Card and initial values of a new network that the files fit."""
  options = {**OPTIONS, **changes}
  spec = numbered_classes(num_classes)
  card = Card(network={'num_classes': num_classes, **options}, spec=spec, crop_size=(33, 33))
  return card, *Network(num_classes, **options).init(0)


def test_a_run_starts_from_a_name(names):
  card, params, stats = fresh(5, dilations=None)
  new, _, notes = start_from('net', card, params, stats)
  expected = published.load(names['net']).params
  assert all(np.array_equal(new[name], expected[name]) for name in expected)
  assert notes == [
    'Starting from net.',
    'The names of its classes are not known, and their number is the same: its classifiers were '
    'taken as they are.',
    'It was made with dilations=(1, 1, 2, 4), and here it is None.',
  ]
  _, _, notes = start_from('net', *fresh(5, bins=(1, 2, 4, 8)))
  assert notes[-1] == 'It was made with bins=(1, 2, 3, 6), and here it is (1, 2, 4, 8).'
  new, _, notes = start_from('backbone', card, params, stats)
  name = 'backbone/stage4/0/conv1/conv/kernel'
  np.testing.assert_array_equal(new[name], expected[name])
  assert notes == [
    'Starting from backbone.',
    'Not taken from there, but fresh: all but the backbone.',
  ]
