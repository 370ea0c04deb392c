"""Export a trained Keras classifier to .tflite files, each verified before it gets its name."""
