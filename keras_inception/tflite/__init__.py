"""Run .tflite files and read what is in them."""
