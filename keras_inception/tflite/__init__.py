"""Run .tflite files and look into them."""
