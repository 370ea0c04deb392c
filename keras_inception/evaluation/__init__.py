"""Evaluation: metrics, test-time crops, and a common interface for runs and exported files."""

from keras_inception.evaluation.evaluator import evaluate as evaluate
from keras_inception.evaluation.metrics import Evaluation as Evaluation
from keras_inception.evaluation.metrics import keras_predictor as keras_predictor
from keras_inception.evaluation.metrics import top_k as top_k
