"""Evaluation: metrics, test-time crops, and a common interface for runs and exported files."""

from typing import TYPE_CHECKING

from keras_inception.utils import lazy

if TYPE_CHECKING:
    from keras_inception.evaluation.evaluator import evaluate as evaluate
    from keras_inception.evaluation.metrics import Evaluation as Evaluation
    from keras_inception.evaluation.metrics import keras_predictor as keras_predictor
    from keras_inception.evaluation.metrics import top_k as top_k

_HOMES = {"Evaluation": "metrics", "evaluate": "evaluator", "keras_predictor": "metrics", "top_k": "metrics"}

__all__ = list(_HOMES)
__getattr__, __dir__ = lazy.attach(__name__, _HOMES)
