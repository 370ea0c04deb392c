"""Run and inspect .tflite files."""
