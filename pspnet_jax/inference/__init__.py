"""From images to labels and probabilities, by any protocol."""
