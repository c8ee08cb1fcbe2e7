"""Nothing of an upload is left, and Gradio's settings are as they were."""

import os

from pspnet_jax.web import private


def test_the_folder_of_uploads_goes_with_all_that_is_in_it(monkeypatch):
  monkeypatch.setenv('GRADIO_TEMP_DIR', 'mine')
  monkeypatch.delenv('GRADIO_ANALYTICS_ENABLED', raising=False)
  with private.settings() as folder, private.folder(folder):
    (folder / 'abc').mkdir()
    (folder / 'abc' / 'a.jpg').write_bytes(b'left')
    assert os.environ['GRADIO_TEMP_DIR'] == str(folder) and folder.stat().st_mode & 0o077 == 0
    assert os.environ['GRADIO_ANALYTICS_ENABLED'] == 'False'
  assert not folder.exists() and os.environ['GRADIO_TEMP_DIR'] == 'mine'
  assert 'GRADIO_ANALYTICS_ENABLED' not in os.environ
