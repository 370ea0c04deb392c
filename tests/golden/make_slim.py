"""Run TF-slim's Inception v1 and v3; see README_PEERS.md. Needs tf_slim, tensorflow, tf_keras and NumPy."""

import importlib
import importlib.metadata
import json
import os
import sys

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow as tf
import tf_slim
from making import GOLDEN, drawn, picture
from tf_slim.nets import inception

tf1 = tf.compat.v1
# tensorflow 2.19 looks for TF 1's layers where tf_keras 2.19 does not have them.
sys.modules["tf_keras.legacy_tf_layers.normalization"] = importlib.import_module(
    "tf_keras.src.legacy_tf_layers.normalization"
)

CLASSES = 1001
PREPROCESS = {"order": "RGB", "scale": 1.0, "mean": [0.5] * 3, "std": [0.5] * 3}
KINDS = {
    "weights": "conv_hwio",
    "biases": "bias",
    "beta": "bn_beta",
    "moving_mean": "bn_mean",
    "moving_variance": "bn_var",
}
NO_STAGES = ("Logits", "Predictions", "PreLogits", "AuxLogits")
# Sizes of each network, with the arguments for each size.
NETWORKS = {
    "inception_v1": {(224, 224): {}},
    "inception_v3": {(299, 299): {}, (160, 192): {"create_aux_logits": False}},
}


def rounded(values):
    return [float(f"{value:.8g}") for value in values]


def stage(name, values):
    flat = values.ravel()
    return {
        "name": name,
        "shape": list(values.shape),
        "mean": float(f"{flat.mean(dtype=np.float64):.8g}"),
        "std": float(f"{flat.std(dtype=np.float64):.8g}"),
        "values": rounded(flat[np.arange(16) * (flat.size - 1) // 15]),
    }


def run(name, size, arguments):
    """Return the parameters and end points of a network with the drawn weights, on the drawn image."""
    with tf.Graph().as_default(), tf1.Session() as session:
        x = tf1.placeholder(tf.float32, (1, *size, 3))
        with tf_slim.arg_scope(getattr(inception, f"{name}_arg_scope")()):
            _, ends = getattr(inception, name)(x, num_classes=CLASSES, is_training=False, **arguments)
        variables = {variable.op.name: variable for variable in tf1.global_variables()}
        params = [[key, v.shape.as_list(), KINDS[key.rpartition("/")[2]]] for key, v in variables.items()]
        for key, tensor in drawn(params).items():
            variables[key].load(tensor, session)
        return params, session.run(ends, {x: picture(*size, PREPROCESS).astype(np.float32)})


def variant(size, ends, with_stages):
    outputs = {key: ends[end][0] for key, end in (("logits", "Logits"), ("AuxLogits", "AuxLogits")) if end in ends}
    entry = {
        "options": {},
        "height": size[0],
        "width": size[1],
        "outputs": {key: rounded(values[::10]) for key, values in outputs.items()},
        "top5": {key: np.argsort(-values)[:5].tolist() for key, values in outputs.items()},
    }
    if with_stages:
        entry["stages"] = [stage(key, values[0]) for key, values in ends.items() if key not in NO_STAGES]
    return entry


for name, sizes in NETWORKS.items():
    results = {size: run(name, size, arguments) for size, arguments in sizes.items()}
    params = next(iter(results.values()))[0]
    document = {
        "format": "golden 1",
        "id": f"slim_{name}",
        "peer": {
            "package": "tf_slim",
            "version": f"{importlib.metadata.version('tf_slim')}, tensorflow {tf.__version__}",
            "model": f"tf_slim.nets.inception.{name}(x, num_classes={CLASSES}, is_training=False)",
        },
        "weights": {
            "salt": "",
            "count": {
                "all": sum(int(np.prod(shape)) for _, shape, _ in params),
                "trainable": sum(int(np.prod(shape)) for _, shape, kind in params if kind not in ("bn_mean", "bn_var")),
            },
            "params": params,
        },
        "input": {"seed": 0, "preprocess": PREPROCESS},
        "variants": [variant(size, ends, not i) for i, (size, (_, ends)) in enumerate(results.items())],
    }
    path = GOLDEN / f"slim_{name}.json"
    path.write_text(json.dumps(document, separators=(",", ":")) + "\n")
    print(path.name, path.stat().st_size, document["weights"]["count"])
