"""Puts the configs into the wheel; all else about the package stands in setup.cfg."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
  """Copies configs/ to pspnet_jax/configs, where `pspnet_jax.config.shipped` finds them."""

  def run(self):
    super().run()
    if not self.editable_mode:  # a checkout has them beside the package
      folder = Path(self.build_lib, 'pspnet_jax', 'configs')
      self.mkpath(str(folder))
      for path in sorted(Path('configs').glob('*.py')):
        self.copy_file(str(path), str(folder / path.name))


setup(cmdclass={'build_py': BuildWithConfigs})
