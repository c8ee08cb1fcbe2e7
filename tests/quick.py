"""How tests compile: what runs for some steps is not optimised for as many seconds.

Training passes compile in a third. With PSPNET_TESTS_OPTIMISED=1 programs are those of users, as
`make test` has it for the tests marked `digits`.
"""

import os

OPTIMISED = os.environ.get('PSPNET_TESTS_OPTIMISED', '') not in ('', '0')


def flags(devices: int) -> str:
  """XLA_FLAGS of a process with so many CPU devices."""
  chosen = f'--xla_force_host_platform_device_count={devices}'
  fast = '--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false'
  return chosen if OPTIMISED else f'{chosen} {fast}'
