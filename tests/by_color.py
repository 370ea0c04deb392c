"""A classifier that is computed by hand."""

import numpy as np

from keras_inception.preprocessing import Preprocessing


class ByColor:
    """Classify images of `pictures` by their brightest channel."""

    labels = ("blue", "green", "red")
    preprocessing = Preprocessing(size=(8, 8))

    def __init__(self, confidence=0.9):
        self.confidence = confidence

    def predict(self, pictures):
        best = pictures.mean(axis=(1, 2))[:, ::-1].argmax(axis=1)
        rest = (1 - self.confidence) / 2
        return np.where(np.arange(3) == best[:, None], self.confidence, rest).astype(np.float32)

    def __str__(self):
        return "by color"
