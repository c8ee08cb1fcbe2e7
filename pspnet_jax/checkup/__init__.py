"""checkup."""
