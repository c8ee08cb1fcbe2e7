"""The ground: devices, compilation and files."""
