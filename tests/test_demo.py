"""The page in a browser: what people do with it, with a mouse and without; what it never does."""

import asyncio
import base64
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from PIL import Image

from pspnet_jax import demo, predictor
from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.inference.protocol import Protocol
from pspnet_jax.models.network import Network
from pspnet_jax.ops.images import normalize
from pspnet_jax.runtime import compiler_options
from pspnet_jax.weights.checkpoints import Checkpoints
from tests import tiny
from tests.conftest import TINY

# Names that would do something if they were more than text.
NAMES = ('sky', 'road', '<img src=x onerror="alert(1)">', '${alert(2)}{{value}}', 'car')
SPEC = DatasetSpec(NAMES, default_palette(len(NAMES)))
PATIENCE = 60  # seconds, on a machine that has other things to do

# The command, which says of every address that is not this computer's that it was asked for.
AUDITED = """
import runpy, sys
def hook(event, values):
  host = None
  if event == 'socket.connect' and isinstance(values[1], tuple): host = values[1][0]
  if event == 'socket.getaddrinfo': host = values[0]
  if host not in (None, '', b'', '127.0.0.1', '::1', 'localhost'): print('CALLED', host, flush=True)
sys.addaudithook(hook)
sys.argv[0] = 'demo'
runpy.run_module('pspnet_jax.demo', run_name='__main__')
"""


def write_workdir(folder, seed):
  """A network of random weights, with biases that give every class its share of the pixels."""
  card = Card({'num_classes': len(NAMES), **TINY}, SPEC, (33, 33), Protocol(window=(33, 33)))
  network = Network(**card.network)
  params, batch_stats = network.init(seed)
  noise = np.random.default_rng(seed).integers(0, 256, (1, 33, 33, 3), np.uint8)
  run = jax.jit(network.apply)
  outputs, _ = run(params, batch_stats, normalize(noise, card.mean, card.std))
  params['classifier/conv/bias'] -= outputs['logits'].mean((0, 1, 2))
  with Checkpoints(folder) as checkpoints:
    checkpoints.save(3, {'params': params, 'batch_stats': batch_stats}, card, 0.5)
  return folder


class Server:
  """The command on two networks, with a folder of its own for what is uploaded."""

  def __init__(self, folder):
    rng = np.random.default_rng(0)
    self.folder, self.uploads = folder, folder / 'uploads'
    self.uploads.mkdir()
    self.workdirs = [write_workdir(folder / name, i) for i, name in enumerate('ab')]
    self.images = folder / 'images'
    self.images.mkdir()
    for name, size in (('street.png', (40, 60, 3)), ('<b>${1}.png', (33, 44, 3))):
      pixels = np.kron(rng.integers(0, 256, (5, 5, 3)), np.ones((9, 12, 1)))[: size[0], : size[1]]
      Image.fromarray(pixels.astype(np.uint8)).save(self.images / name)
    Image.new('1', (10_000, 5_000)).save(folder / 'fifty.png')
    (folder / 'text.jpg').write_bytes(b'no image\n' * 50)
    (folder / 'broken.png').write_bytes((self.images / 'street.png').read_bytes()[:-40])
    self.log = folder / 'log.txt'
    arguments = [
      f'--workdir={",".join(map(str, self.workdirs))}',
      *('--port=0', f'--examples={self.images}'),
    ]
    with self.log.open('wb') as log:
      self.process = subprocess.Popen(
        [sys.executable, '-c', AUDITED, *arguments],
        stdout=log,
        stderr=log,
        cwd=tiny.ROOT,
        env=tiny.environment() | {'TMPDIR': str(self.uploads)},
      )
    deadline = time.monotonic() + PATIENCE
    while 'http://' not in self.log.read_text():
      assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
      time.sleep(0.1)
    self.address = self.log.read_text().split(' is on ')[1].split()[0]

  def stop(self):
    self.process.send_signal(signal.SIGTERM)
    return self.process.wait(PATIENCE)


@pytest.fixture(scope='module')
def server(tmp_path_factory):
  pytest.importorskip('gradio')
  server = Server(tmp_path_factory.mktemp('demo'))
  yield server
  assert server.stop() == 0, server.log.read_text()
  assert not [*server.uploads.iterdir()], 'what was uploaded is still there'
  assert 'CALLED' not in server.log.read_text()
  assert 'Traceback' not in server.log.read_text()


@pytest.fixture(scope='module')
def browser():
  api = pytest.importorskip('playwright.sync_api')
  chromium = shutil.which('chromium') or shutil.which('google-chrome')
  if chromium is None:
    pytest.skip('there is no Chromium on this machine')
  with api.sync_playwright() as playwright:
    with_root = ['--no-sandbox'] if os.getuid() == 0 else []
    browser = playwright.chromium.launch(executable_path=chromium, args=with_root)
    yield browser
    browser.close()


@pytest.fixture
def page(server, browser):
  """The page, which may ask nobody else for anything, and run nothing that an image's name says."""
  page = browser.new_page(viewport={'width': 1280, 'height': 900})
  page.set_default_timeout(1000 * PATIENCE)
  wrong = []
  page.on('request', lambda x: None if x.url.startswith(OWN) else wrong.append(x.url[:200]))
  page.on('pageerror', lambda error: wrong.append(str(error)))
  page.on('dialog', lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
  OWN = (server.address, 'data:', 'blob:')
  page.goto(server.address)
  yield page
  assert not wrong
  page.close()


def upload(page, path):
  page.locator('#upload input[type=file]').set_input_files(path)
  answered(page, path.name)


def answered(page, name):
  """Waits until the page has said something of an image, and two networks' pictures are there."""
  page.wait_for_function(
    'name => document.querySelector("#message").innerText.startsWith(name) &&'
    'document.querySelectorAll("#pictures img").length === 2',
    arg=name,
  )


def sources(page):
  return page.locator('#pictures img').evaluate_all('images => images.map(x => x.src)')


def pictures(page):
  """What is shown, decoded: float [h, w, 3] each."""
  files = [base64.b64decode(source.partition(',')[2]) for source in sources(page)]
  return [np.asarray(Image.open(io.BytesIO(file)), float) for file in files]


def changed(page, act):
  """Does something, and waits until other pictures are shown than before."""
  before = sources(page)
  act()
  page.wait_for_function(
    'before => JSON.stringify([...document.querySelectorAll("#pictures img")].map(x => x.src)) !=='
    'JSON.stringify(before)',
    arg=before,
  )


def downloaded(page, act):
  with page.expect_download() as download:
    act()
  return np.asarray(Image.open(download.value.path()))


@pytest.mark.slow
def test_an_image_is_labelled_by_both_and_by_both_together(server, page, one_device, monkeypatch):
  monkeypatch.setattr(compiler_options, 'for_network', lambda *_, **__: {})
  path = server.images / 'street.png'
  models = [predictor.load(x) for x in server.workdirs]
  expected = [model(path) for model in models]
  assert page.title() == 'PSPNet-10: 5 classes'
  assert page.locator('#heading p').all_inner_texts() == ['step 3 of a', 'step 3 of b']
  upload(page, path)
  agreed = f'{100 * (expected[0] == expected[1]).mean():.1f}% of them'
  assert agreed in page.locator('#message').inner_text()

  # The legend is that of all pixels.
  rows = {row[0]: row[1:] for row in (x.split() for x in legend(page)) if len(row) == 3}
  for name in ('sky', 'road', 'car'):
    shares = [100 * model.areas(path)[name] for model in models]
    assert rows.get(name, ['0.0%'] * 2) == [f'{x:.1f}%' for x in shares]

  # Opacity goes from the image to the colours.
  changed(page, lambda: page.get_by_role('slider').fill('0'))
  image = np.asarray(Image.open(path))
  for picture in pictures(page):
    scale = picture.shape[0] // image.shape[0]
    assert np.abs(picture - image.repeat(scale, 0).repeat(scale, 1)).mean() < 4
  changed(page, lambda: page.get_by_role('slider').fill('100'))
  for picture, label in zip(pictures(page), expected, strict=True):
    colours = np.float32(SPEC.palette)[label].repeat(scale, 0).repeat(scale, 1)
    assert np.median(np.abs(picture - colours)) < 4

  # One class alone, and all again.
  whole = sources(page)
  button = page.locator('#legend button').first
  changed(page, button.click)
  assert button.get_attribute('aria-pressed') == 'true'
  changed(page, button.click)
  assert sources(page) == whole and button.get_attribute('aria-pressed') == 'false'

  # Confidence is grey.
  changed(page, lambda: page.get_by_label('Confidence').check())
  assert max(np.ptp(picture, axis=2).max() for picture in pictures(page)) < 8
  assert 'Confidence of street.png by a' in page.locator('#pictures img').first.get_attribute('alt')

  # The labels are those of the predictors, bit for bit; so is that of both together.
  for link, label in zip(page.locator('a.download').all(), expected, strict=True):
    np.testing.assert_array_equal(downloaded(page, link.click), label)
  changed(page, lambda: page.get_by_label('Together').check())
  label = downloaded(page, page.locator('a.download').click)
  np.testing.assert_array_equal(label, predictor.load(server.workdirs)(path))


def legend(page):
  return page.locator('#legend tbody tr').all_inner_texts()


@pytest.mark.slow
def test_the_keyboard_is_enough(server, page):
  api = pytest.importorskip('playwright.sync_api')

  def tab_to(selector):
    for _ in range(40):
      page.keyboard.press('Tab')
      if page.locator(selector).first.evaluate('x => x === document.activeElement'):
        outline = page.evaluate(
          '[document.activeElement, document.activeElement.parentElement]'
          '.map(x => getComputedStyle(x).outlineStyle)'
        )
        assert outline != ['none', 'none'], f'nobody sees that {selector} has the focus'
        return
    pytest.fail(f'no key leads to {selector}')

  def chooser():
    for attempt in range(6):  # a busy machine's page has the button before what answers it
      tab_to('#upload button')
      try:
        with page.expect_file_chooser(timeout=5_000 * (attempt + 1)) as opened:
          page.keyboard.press('Enter')
        return opened.value
      except api.TimeoutError:
        page.locator('h1').click()
    pytest.fail('the button opens nothing')

  chooser().set_files(server.images / 'street.png')
  page.locator('#pictures img').first.wait_for()
  page.locator('h1').click()  # to the top
  for value in ('Confidence', 'Classes'):
    tab_to(f'input[value={value}]')
    changed(page, lambda: page.keyboard.press('Space'))
    page.locator('h1').click()
  tab_to('input[type=range]')
  changed(page, lambda: page.keyboard.press('ArrowRight'))
  tab_to('#legend button')
  changed(page, lambda: page.keyboard.press('Enter'))
  assert page.evaluate('document.activeElement.getAttribute("aria-pressed")') == 'true'
  changed(page, lambda: page.keyboard.press('Space'))
  tab_to('a.download')
  assert downloaded(page, lambda: page.keyboard.press('Enter')).shape == (40, 60)


@pytest.mark.slow
def test_bad_uploads_are_answered_and_good_ones_still_are(server, page):
  page.get_by_role('button', name='Example <b>${1}.png').click()
  answered(page, '<b>${1}.png')
  before = sources(page)
  for name, says in (
    ('fifty.png', 'has 10000×5000 pixels, 50 million, and this page takes 24: reduce it and try'),
    ('broken.png', 'is truncated or damaged: copy or download it again.'),
    ('text.jpg', 'is not an image that can be decoded: replace or remove it.'),
  ):
    upload(page, server.folder / name)
    assert says in page.get_by_role('alert').inner_text()
    assert sources(page) == before
  changed(page, page.get_by_role('button', name='Example street.png').click)
  upload(page, server.images / 'street.png')
  names = [row.split('\t')[0].strip() for row in legend(page)]
  assert {*names} <= {*NAMES}


@pytest.mark.slow
def test_how_long_it_takes_can_be_measured(server, browser):
  from benchmarks import web_page  # which needs playwright

  image = str(server.images / 'street.png')
  there, labelled, requests, size = web_page.visit(browser, server.address, image)
  assert there > 0 and labelled > 0 and requests > 5 and size > 10_000


@pytest.mark.slow
def test_it_fits_every_window_and_everything_has_a_name(server, page):
  upload(page, server.images / 'street.png')
  for width in (1440, 800, 390):
    page.set_viewport_size({'width': width, 'height': 844})
    assert page.evaluate('document.documentElement.scrollWidth') <= width
  nameless = page.locator('button, input, a, img, fieldset').evaluate_all(
    """all => all.filter(x => x.checkVisibility() && !(x.innerText || x.alt || x.ariaLabel ||
    x.labels?.length || x.querySelector('img[alt]'))).map(x => x.outerHTML.slice(0, 200))"""
  )
  assert not nameless
  assert page.evaluate('document.documentElement.lang') == 'en'


def test_without_gradio_it_says_what_to_install(monkeypatch):
  monkeypatch.setitem(sys.modules, 'gradio', None)
  for name in [name for name in sys.modules if name.startswith('pspnet_jax.web')]:
    monkeypatch.delitem(sys.modules, name)
  with pytest.raises(UserError, match=r"needs Gradio .*: pip install 'pspnet_jax\[demo\]'\.$"):
    demo.demo([tiny.ROOT])


def test_nothing_is_loaded_for_a_port_that_is_in_use(monkeypatch):
  serving = pytest.importorskip('pspnet_jax.web.serving')
  monkeypatch.setattr(predictor, 'load', lambda *_, **__: pytest.fail('it was loaded'))
  with serving.listen('127.0.0.1', 0) as opened:
    port = opened.getsockname()[1]
    with pytest.raises(UserError, match=f'{port} cannot be served on'):
      demo.demo([tiny.ROOT], port=port)


@pytest.fixture
def event_loops(monkeypatch):
  """Closes those that Gradio makes and leaves open."""
  made, make = [], asyncio.new_event_loop
  monkeypatch.setattr(asyncio, 'new_event_loop', lambda: made.append(make()) or made[-1])
  yield
  for loop in made:
    loop.close()


@pytest.mark.usefixtures('event_loops')
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_asked_to_stop_ahead_of_serving_it_ends_and_leaves_no_folder(tmp_path, number):
  serving = pytest.importorskip('pspnet_jax.web.serving')
  from pspnet_jax.web import private

  before = signal.getsignal(number)
  folder = tmp_path / 'uploads'
  opened = serving.listen('127.0.0.1', 0)
  with opened, serving.AskedToStop() as asked, private.folder(folder):
    signal.raise_signal(number)
    serving.serve(serving.gr.Blocks(), opened, folder, asked, most_bytes=1)
    assert folder.exists()  # it came to its end, without an exception
  assert not folder.exists()
  assert signal.getsignal(number) == before


def test_networks_are_loaded_together_so_that_what_holds_for_several_holds(monkeypatch, tmp_path):
  pytest.importorskip('gradio')

  def load(workdirs, **options):
    assert not [*(tmp_path / 'temporary').iterdir()]  # which a signal would leave
    assert workdirs == [tmp_path / 'a', tmp_path / 'b'] and options['model'] is Network
    raise UserError('they hold the same weights')

  (tmp_path / 'temporary').mkdir()
  monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'temporary'))
  monkeypatch.setattr(predictor, 'load', load)
  with pytest.raises(UserError, match='they hold the same weights'):
    demo.demo([tmp_path / 'a', tmp_path / 'b'], port=0, model=Network)


def test_limits_that_leave_nothing_are_refused():
  with pytest.raises(UserError, match=r'--max_megapixels=0 takes no image: give 1 or more\.'):
    demo.demo([tiny.ROOT], max_megapixels=0)
  pytest.importorskip('gradio')
  with pytest.raises(UserError, match=r'--port=99999 is no port: give 0 to 65535\.'):
    demo.demo([tiny.ROOT], port=99_999)


def test_names_are_short_and_different(tmp_path):
  assert demo._short_names([tmp_path / 'a', tmp_path / 'b']) == ['a', 'b']
  assert demo._short_names([tmp_path / 'a' / 'x', tmp_path / 'b' / 'x']) == ['a/x', 'b/x']
  with pytest.raises(UserError, match='is named twice'):
    demo._short_names([tmp_path / 'a', tmp_path / 'b' / '..' / 'a'])


def test_networks_of_the_hub_are_called_by_the_ends_of_their_addresses(tmp_path):
  assert demo._short_names(['hf://owner/net']) == ['net']
  assert demo._short_names(['hf://a/net', 'hf://b/net@v1']) == ['net', 'net@v1']
  assert demo._short_names(['hf://a/net', tmp_path / 'b' / 'net']) == ['a/net', 'b/net']
  with pytest.raises(UserError, match='hf://a/net is named twice'):
    demo._short_names(['hf://a/net', 'hf://a/net'])


def test_examples_that_are_not_offered_are_counted(tmp_path, capsys):
  for i in range(13):
    Image.new('RGB', (8, 6)).save(tmp_path / f'{i:02d}.png')
  assert len(demo._examples(tmp_path)) == 12
  assert 'has 13 images: the first 12 are offered.' in capsys.readouterr().out
  (tmp_path / '12.png').unlink()
  assert len(demo._examples(tmp_path)) == 12 and not capsys.readouterr().out


def test_the_title_names_each_kind_of_network_once():
  cards = [SimpleNamespace(title=title) for title in ('PSPNet-50', 'PSPNet-50', 'PSPNet-101')]
  models = [SimpleNamespace(card=card, spec=SPEC) for card in cards]
  assert demo._title(models) == 'PSPNet-50 and PSPNet-101: 5 classes'
