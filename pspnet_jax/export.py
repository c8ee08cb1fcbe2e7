"""Writes a network as a checkpoint of semseg or mmsegmentation.

  pspnet export --workdir=/tmp/ade20k --output=pspnet50.pth --format=semseg

It prints what the arrays do not tell and the other program has to be told; it stands in the file as
well, where `pspnet convert` finds it. What the other program has no setting for is refused.
"""

from __future__ import annotations

from absl import flags

from pspnet_jax import cli

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the command's flags; see `cli`."""
  cli.define_network_flags()
  cli.define_path('output', None, 'The .pth file to write.', required=True)
  flags.DEFINE_enum('format', 'semseg', ['semseg', 'mmseg'], 'Whose names the arrays get.')


if __name__ == '__main__':  # ahead of the imports: --help does not wait for JAX
  cli.start('export', __doc__, define_flags)

from pathlib import Path

from pspnet_jax.runtime import streams
from pspnet_jax.runtime.paths import given
from pspnet_jax.weights import exporting, folders
from pspnet_jax.weights.loaded import Which


def export(
  workdir: Path, output: Path, format_name: str, which: Which = 'best', *, ema: bool = True
) -> None:
  """Writes a checkpoint of `workdir`, `ema` its moving average, to the file `output`.

  Raises:
    UserError: for whatever the user can mend.
  """
  output = given(output)
  found = folders.load(
    workdir, which, lambda card: exporting.check_fits(card, format_name), ema=ema
  )
  arrays = {**found.params, **found.batch_stats}
  avg_down = found.card.network.get('avg_down', False)
  tensors = exporting.state_dict(arrays, format_name, avg_down=avg_down)
  exporting.write(tensors, output, format_name, found.card)
  streams.show(
    f'{len(tensors)} arrays of step {found.step}{found.kind} written to {output}. What they do not '
    'tell:'
  )
  streams.show(exporting.conventions(found.card))


def main() -> None:
  which = cli.which_checkpoint(FLAGS.checkpoint)
  export(Path(FLAGS.workdir), Path(FLAGS.output), FLAGS.format, which, ema=FLAGS.ema)
