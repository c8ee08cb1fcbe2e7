"""What happens on the page, event by event, without a browser; `test_demo` has one."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('gradio')

from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.web import page
from pspnet_jax.web.results import Labeller

SHOWN = ('Classes', 50)


class Counting:
  """A network that counts its images, and runs out of memory on those that are wider than 100."""

  def __init__(self):
    self.count = 0

  def __call__(self, image):
    self.count += 1
    if image.shape[1] > 100:
      raise RuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.')
    return np.ones(image.shape[:2], np.uint8), np.ones(image.shape[:2], np.float32)


@pytest.fixture
def run():
  return Counting()


@pytest.fixture
def events(run, tmp_path):
  spec = DatasetSpec(('sky', 'road'), default_palette(2))
  one, two = Labeller('a', run), Labeller('b', run)
  ways = {'Side by side': [one, two], 'Together': [one]}
  example = tmp_path / 'example.png'
  Image.new('RGB', (8, 6)).save(example)
  (tmp_path / 'uploads').mkdir()
  about = page.Page('PSPNet', (), spec, 'upright', ways, 1_000_000, (example,))
  return page.Events(about, tmp_path / 'uploads')


def upload(events, size=(8, 6)):
  path = events._folder / 'a.png'
  Image.new('RGB', size, (90, 120, 200)).save(path)
  return events.upload(str(path), 'Side by side', *SHOWN)


def test_no_network_runs_for_what_only_looks_different(events, run):
  _, visit, highlight, _, first, _ = upload(events)
  assert run.count == 2 and highlight is None and first.count('<img') == 2
  for chosen, show, opacity in ((None, 'Classes', 100), (0, 'Classes', 50), (0, 'Confidence', 50)):
    _, drawn = events.redraw(visit, chosen, 'Side by side', show, opacity)
    assert drawn != first
  event = SimpleNamespace(index=-1)
  assert events.highlight(event, visit, 'Side by side', *SHOWN)[2] == first
  assert run.count == 2


def test_each_way_runs_once_and_the_image_goes_when_all_have(events, run):
  visit = upload(events)[1]
  assert visit.image is not None
  for way, images in (('Together', 1), ('Side by side', 2), ('Together', 1)):
    assert events.way(visit, way, *SHOWN)[3].count('<img') == images
  assert run.count == 3 and visit.image is None


def test_a_refusal_leaves_what_was_there(events):
  zone, *kept = events.upload(str(events._folder / 'none.png'), 'Side by side', *SHOWN)
  assert zone is None and 'none.png is not here' in kept.pop(2)
  assert all(update == {'__type__': 'update'} for update in kept)
  assert 'There is no file' in events.upload(None, 'Side by side', *SHOWN)[3]


def test_a_machine_without_the_memory_says_so_and_goes_on(events):
  said = upload(events, (200, 6))[3]
  assert 'a.png, 200×6 pixels, takes more memory than there is: reduce it and try again.' in said
  assert upload(events)[1] is not None


def test_an_example_is_labelled_and_stays(events):
  event = SimpleNamespace(index=0)
  for _ in range(2):
    visit, *_ = events.example(event, 'Side by side', *SHOWN)
    assert visit.name == 'example.png'


def test_a_visit_that_is_over_is_said(events):
  said, _ = events.redraw(None, None, 'Side by side', *SHOWN)
  assert 'There is no image, or no longer' in said
  assert len(events.way(None, 'Together', *SHOWN)) == 5


@pytest.mark.parametrize('index', [None, 'a', True, 1.5, 999, -2, 10**30])
def test_what_the_page_never_sends_is_answered_with_a_sentence(events, run, index):
  visit = upload(events)[1]
  event = SimpleNamespace(index=index) if index is not None else SimpleNamespace()
  assert page._NOT_OFFERED in events.highlight(event, visit, 'Side by side', *SHOWN)[1]
  assert page._NOT_OFFERED in events.example(event, 'Side by side', *SHOWN)[2]
  assert run.count == 2


@pytest.mark.parametrize('opacity', [None, 'a', -1, 101, float('nan')])
def test_an_opacity_that_is_none_is_answered_before_a_network_runs(events, run, opacity):
  visit = upload(events)[1]
  assert page._NOT_OFFERED in events.redraw(visit, None, 'Side by side', 'Classes', opacity)[0]
  assert page._NOT_OFFERED in events.way(visit, 'Together', 'Classes', opacity)[2]
  assert run.count == 2


@pytest.mark.parametrize('way', [None, [], 'none'])
def test_a_way_that_is_none_is_answered(events, way):
  visit = upload(events)[1]
  assert page._NOT_OFFERED in events.redraw(visit, None, way, *SHOWN)[0]
  assert page._NOT_OFFERED in events.way(visit, way, *SHOWN)[2]


@pytest.mark.parametrize('data', [None, 'index', ['index'], {}, 7])
def test_an_event_of_other_data_is_answered(events, data):
  event = page.gr.EventData(None, data)
  assert page._NOT_OFFERED in events.example(event, 'Side by side', *SHOWN)[2]


def test_a_class_that_is_none_cannot_be_shown_alone(events):
  visit, event = upload(events)[1], SimpleNamespace(index=255)
  assert 'is no class' in events.highlight(event, visit, 'Side by side', *SHOWN)[1]
