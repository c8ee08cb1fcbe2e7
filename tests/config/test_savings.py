from pspnet_jax.config import savings
from tests import tiny


def test_what_is_saved_already_is_not_proposed(tmp_path):
  config = tiny.config(tmp_path, batch_size=6, model__remat=True, loss__dice=1.0)
  assert [*savings.ways_to_save(config, 1)] == [{'loss.chunk_rows': 32}, {'accumulation_steps': 2}]
  changed = savings.changed(config, {'accumulation_steps': 2, 'loss.chunk_rows': 32})
  assert [*savings.ways_to_save(changed, 1)] == []
  assert config.accumulation_steps == 1 and config.loss.chunk_rows == 0
  assert [*savings.ways_to_save(config, 4)] == [{'loss.chunk_rows': 32}]
  config.loss.dice = 0.0  # then there are no logits of the image's size to take in chunks
  assert [*savings.ways_to_save(config, 4)] == []
