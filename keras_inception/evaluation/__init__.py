"""Evaluation: metrics, test-time crops, and a common interface for runs and exported files."""

from keras_inception.evaluation.classifiers import KerasClassifier as KerasClassifier
from keras_inception.evaluation.classifiers import open_classifier as open_classifier
from keras_inception.evaluation.evaluator import evaluate as evaluate
from keras_inception.evaluation.metrics import Evaluation as Evaluation
from keras_inception.evaluation.metrics import evaluate_batches as evaluate_batches
from keras_inception.evaluation.metrics import keras_predictor as keras_predictor
from keras_inception.evaluation.metrics import top_k as top_k
from keras_inception.evaluation.prediction import Predictions as Predictions
from keras_inception.evaluation.prediction import predict as predict
