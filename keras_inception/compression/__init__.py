"""Make trained networks smaller: filter pruning, sparsity, clustering and quantization-aware training."""
