"""Files of a run in a bucket are copies of files here, sent whole."""

import pytest

from pspnet_jax.errors import UserError
from pspnet_jax.reporting.copies import Copies
from pspnet_jax.runtime import storage


@pytest.fixture
def copies(bucket):
  copies = Copies(storage.given('gs://scenes/run'))
  yield copies
  copies.close()


def test_what_has_changed_is_sent_and_nothing_else(bucket, copies):
  (copies.folder / 'a').write_text('one')
  (copies.folder / 'b').write_text('two')
  copies.send()
  sent = bucket.objects['run/b'].generation
  (copies.folder / 'a').write_text('one and more')
  copies.send()
  assert bucket.objects['run/a'].content == b'one and more'
  assert bucket.objects['run/b'].generation == sent


def test_what_is_there_is_fetched_and_what_is_not_is_no_matter(bucket, copies):
  bucket.put('run/metrics.jsonl', b'{"step": 1}\n')
  copies.fetch('metrics.jsonl')
  copies.fetch('nothing')
  assert (copies.folder / 'metrics.jsonl').read_bytes() == b'{"step": 1}\n'
  assert [path.name for path in copies.folder.iterdir()] == ['metrics.jsonl']


def test_what_cannot_be_sent_is_a_sentence_and_is_sent_the_next_time(bucket, copies):
  (copies.folder / 'a').write_text('one')
  bucket.read_only = True
  with pytest.raises(UserError, match=r'^gs://scenes/run/a may not be used by this account'):
    copies.send()
  bucket.read_only = False
  copies.send()
  assert bucket.objects['run/a'].content == b'one'


def test_nothing_is_left_here(bucket):
  copies = Copies(storage.given('gs://scenes/run'))
  (copies.folder / 'a').write_text('one')
  copies.close()
  assert not copies.folder.exists()
