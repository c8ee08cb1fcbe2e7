import pytest

from pspnet_jax.errors import UserError
from pspnet_jax.runtime.limits import PIXELS


def test_a_limit_is_named_with_what_raises_it(monkeypatch):
  assert PIXELS.exceeded_by(PIXELS.default) is None
  message = PIXELS.exceeded_by(PIXELS.default + 1)
  assert f'{PIXELS.default + 1:,} pixels' in message
  assert PIXELS.variable in message
  monkeypatch.setenv(PIXELS.variable, str(PIXELS.default + 1))
  assert PIXELS.exceeded_by(PIXELS.default + 1) is None


@pytest.mark.parametrize('value', ['0', '-1', 'many', '1e9'])
def test_a_variable_that_is_no_number_is_refused(monkeypatch, value):
  monkeypatch.setenv(PIXELS.variable, value)
  with pytest.raises(UserError, match=PIXELS.variable):
    PIXELS.exceeded_by(1)
