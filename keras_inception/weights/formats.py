"""What tells Keras' weights files apart. Imports nothing, unlike the readers."""

SIGNATURE = b"\x89HDF\r\n\x1a\n"  # that HDF5 begins with
WEIGHTS, CONFIG = "model.weights.h5", "config.json"  # in the archive of a .keras file
