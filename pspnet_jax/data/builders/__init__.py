"""TFDS builders of the published data sets; `pspnet_jax.prepare` runs them."""
