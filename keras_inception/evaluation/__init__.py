"""How good a classifier is: metrics, test-time crops, and one face for whatever classifies."""
