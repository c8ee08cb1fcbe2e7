"""How tests compile: what runs for some steps is not optimised for as many seconds.

Training passes compile in a third. With PSPNET_TESTS_OPTIMISED=1 programs are those of users, as
`make test` has it for the tests marked `digits`.
"""

import os

OPTIMISED = os.environ.get('PSPNET_TESTS_OPTIMISED', '') not in ('', '0')

# What jax.jit(compiler_options=...) gets for a training pass that runs once: a sixth to compile.
OPTIONS = (
  {} if OPTIMISED else {'xla_backend_optimization_level': 0, 'xla_cpu_use_fusion_emitters': False}
)


def flags(devices: int) -> str:
  """XLA_FLAGS of a process with so many CPU devices."""
  chosen = {'xla_force_host_platform_device_count': devices, **OPTIONS}
  return ' '.join(f'--{name}={str(value).lower()}' for name, value in chosen.items())
