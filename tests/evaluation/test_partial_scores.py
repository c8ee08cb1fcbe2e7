"""An evaluation that is stopped goes on, and counts nothing twice."""

import dataclasses

import numpy as np
import pytest

from pspnet_jax.errors import Stopped, UserError
from pspnet_jax.evaluation import partial_scores, scoring
from pspnet_jax.evaluation.partial_scores import PartialScores
from pspnet_jax.inference.engine import Inference
from pspnet_jax.inference.protocol import Protocol
from tests.inference.test_engine import CLASSES, Source, images, model  # noqa: F401

pytestmark = pytest.mark.usefixtures('one_device')
QUESTION = {'step': 3}


@pytest.fixture
def setting(model):  # noqa: F811
  card, network, params, batch_stats = model
  card = dataclasses.replace(card, protocol=Protocol(window=(33, 41)))
  rng = np.random.default_rng(2)
  many = images((33, 41), (60, 50), (33, 41), (20, 90), (61, 50), (40, 40), (33, 50))
  labels = [rng.integers(0, CLASSES, x.shape[:2]).astype(np.uint8) for x in many]
  inference = Inference(network, card, batch_size=2)
  return (inference, inference.prepare(params, batch_stats)), Source(card.spec, many, labels)


class Watched:
  """Notes what is read; an image in `bad` cannot be."""

  def __init__(self, source, bad=()):
    self.spec, self.read, self._source, self._bad = source.spec, [], source, bad

  def __len__(self):
    return len(self._source)

  def __getitem__(self, i):
    self.read.append(i)
    if i in self._bad:
      raise UserError(f'image {i} is bad.')
    return self._source[i]


@pytest.mark.parametrize('stop_after', [1, 3, 6])
@pytest.mark.parametrize('bad', [(), (2, 6)])
def test_stopped_and_resumed_counts_as_never_stopped(setting, tmp_path, stop_after, bad):
  model_, source = setting
  skip = {'skip_bad': bool(bad)}
  expected = scoring.confusion_matrix(*model_, Watched(source, bad), **skip)

  def stop(done):
    if done >= stop_after:
      raise Stopped('stopped')

  path = tmp_path / 'evaluation' / 'unfinished.npz'
  partial = PartialScores(path, QUESTION, CLASSES)
  with pytest.raises(Stopped):
    scoring.confusion_matrix(
      *model_, Watched(source, bad), partial=partial, on_progress=stop, **skip
    )
  assert stop_after <= partial.done < len(source)

  again, rest = PartialScores(path, QUESTION, CLASSES), Watched(source, bad)
  assert again.done == partial.done
  found = scoring.confusion_matrix(*model_, rest, partial=again, threads=1, **skip)
  np.testing.assert_array_equal(found, expected)
  assert min(rest.read) == partial.done and set(rest.read) == set(range(partial.done, 7))
  assert set(again.image_iou) == set(range(7)) - set(bad)
  assert again.left_out == set(bad)


def test_image_iou_is_the_mean_over_the_classes_of_the_label(setting, tmp_path):
  model_, source = setting
  partial = PartialScores(tmp_path / 'p.npz', QUESTION, CLASSES)
  seen = {}
  scoring.confusion_matrix(
    *model_, source, partial=partial, on_label=lambda i, _, label: seen.update({i: label})
  )
  for i, prediction in seen.items():
    label = source[i]['label']
    ious = [
      ((label == c) & (prediction == c)).sum() / ((label == c) | (prediction == c)).sum()
      for c in np.unique(label)
    ]
    assert partial.image_iou[i] == pytest.approx(np.mean(ious), abs=1e-6)
  worst = partial.worst(3)
  assert len(worst) == 3 and partial.image_iou[worst[0]] == min(partial.image_iou.values())


def test_counts_for_another_question_do_not_count(setting, tmp_path):
  model_, source = setting
  path = tmp_path / 'p.npz'
  scoring.confusion_matrix(*model_, source, partial=PartialScores(path, QUESTION, CLASSES))
  assert PartialScores(path, QUESTION, CLASSES).done == len(source)
  assert PartialScores(path, {'step': 4}, CLASSES).done == 0


@pytest.mark.parametrize('content', [b'', b'PK\x03\x04 half a file', b'{}'])
def test_a_damaged_file_starts_anew(tmp_path, content):
  path = tmp_path / 'p.npz'
  path.write_bytes(content)
  assert PartialScores(path, QUESTION, CLASSES).done == 0


def test_it_is_saved_now_and_then(setting, tmp_path, monkeypatch):
  monkeypatch.setattr(scoring, '_SAVE_EVERY', -1.0)
  saves = []
  monkeypatch.setattr(
    partial_scores.PartialScores, 'save', lambda self: saves.append((self.done, self.confusion))
  )
  model_, source = setting
  partial = PartialScores(tmp_path / 'p.npz', QUESTION, CLASSES)
  scoring.confusion_matrix(*model_, source, partial=partial)
  assert [done for done, _ in saves] == [1, 2, 3, 4, 5, 6, 7]
  pixels = np.cumsum([source[i]['label'].size for i in range(7)])
  assert [confusion.sum() for _, confusion in saves] == pixels.tolist()


def test_a_full_disk_is_named(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match='cannot write to'):
    PartialScores(tmp_path / 'file' / 'p.npz', QUESTION, CLASSES).save()
