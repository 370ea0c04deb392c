"""Shared by the scripts that make fixtures from a peer's package; see README_PEERS.md. Needs only NumPy."""

import json
import platform
from pathlib import Path

import numpy as np
from draw import draw, draw_input

GOLDEN = Path(__file__).parent


def torch_params(tensors):
    """Return [name, shape, kind] for the tensors of a state dict, without the counters of batch norm."""
    return [[name, list(tensor.shape), _torch_kind(name, tensors)] for name, tensor in tensors.items() if tensor.ndim]


def _torch_kind(name, tensors):
    layer, _, variable = name.rpartition(".")
    if variable in ("running_mean", "running_var"):
        return {"running_mean": "bn_mean", "running_var": "bn_var"}[variable]
    if f"{layer}.running_mean" in tensors:
        return {"weight": "bn_gamma", "bias": "bn_beta"}[variable]
    return {1: "bias", 2: "dense_oi", 4: "conv_oihw"}[tensors[name].ndim]


def keras_params(model):
    """Return [path, shape, kind] for the variables of a Keras model."""
    kinds = {"gamma": "bn_gamma", "beta": "bn_beta", "moving_mean": "bn_mean", "moving_variance": "bn_var"}
    kernels = {2: "dense_io", 4: "conv_hwio"}
    return [
        [v.path, list(v.shape), kernels[v.ndim] if v.name == "kernel" else kinds.get(v.name, v.name)]
        for v in model.weights
    ]


def drawn(params):
    """Return the drawn tensors by name."""
    return {name: draw(name, shape, kind) for name, shape, kind in params}


def picture(height, width, preprocess):
    """Return the preprocessed image, float64 (1, height, width, 3)."""
    x = draw_input(height, width, 0).astype(np.float64)
    x = x[..., ::-1] if preprocess["order"] == "BGR" else x
    return (x * preprocess["scale"] - np.array(preprocess["mean"])) / np.array(preprocess["std"])


def write(name, *, package, version, model, params, preprocess, logits, note=None):
    """Write a fixture.

    Args:
        name: id of the fixture.
        package: name of the peer's package.
        version: version of the package.
        model: expression that makes the model.
        params: [name, shape, kind] of each tensor.
        preprocess: order, scale, mean and std of the input.
        logits: from a type, "float32" or "float64", and a size, (height, width), to the logits, of which at most about
            a hundred are stored.
        note: remark to store.
    """
    variants = []
    for (height, width), exact in logits["float64"].items():
        noise = np.abs(logits["float32"][height, width] - exact).max() / np.abs(exact).max()
        variants.append(
            {
                "options": {},
                "height": height,
                "width": width,
                "outputs": {"logits": [float(f"{v:.8g}") for v in exact[:: max(1, len(exact) // 100)]]},
                "top5": {"logits": np.argsort(-exact)[:5].tolist()},
                "noise": {"float32": {"logits": float(f"{noise:.2g}")}},
            }
        )
    statistics = ("bn_mean", "bn_var")
    document = {
        "format": "golden 1",
        "id": name,
        "peer": {"package": package, "version": version, "model": model, "python": platform.python_version()},
        "weights": {
            "salt": "",
            "count": {
                "all": sum(int(np.prod(shape)) for _, shape, _ in params),
                "trainable": sum(int(np.prod(shape)) for _, shape, kind in params if kind not in statistics),
            },
            "params": params,
        },
        "input": {"seed": 0, "preprocess": preprocess},
        "variants": variants,
    }
    if note:
        document["note"] = note
    path = GOLDEN / f"{name}.json"
    path.write_text(json.dumps(document, separators=(",", ":")) + "\n")
    print(path.name, path.stat().st_size, document["weights"]["count"], [v["noise"]["float32"] for v in variants])
