"""The array operations that PSPNet is made of. Arrays are NHWC."""
