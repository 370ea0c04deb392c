"""Compress trained networks: filter pruning, weight pruning, weight clustering and quantization-aware training."""
