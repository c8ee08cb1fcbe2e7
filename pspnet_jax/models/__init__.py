"""Networks: PSPNet, its parts, and a network as pure functions."""
