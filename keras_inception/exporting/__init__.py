"""From a trained Keras classifier to .tflite files that are verified before they get their names."""
