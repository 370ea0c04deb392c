"""Run BN-Inception of the package pretrainedmodels; see README_PEERS.md. Needs its source, torch and NumPy."""

import importlib.metadata
import importlib.util
from pathlib import Path

import torch
from making import drawn, picture, torch_params, write

# The publisher's classifier follows a 7×7 average, which still fits once at 226×230.
SIZES = [(224, 224), (226, 230), (163, 197)]
PREPROCESS = {"order": "BGR", "scale": 255.0, "mean": [104.0, 117.0, 128.0], "std": [1.0, 1.0, 1.0]}


def bninception():
    """Return the network, loaded from its one module, since the whole package has undeclared requirements."""
    package = Path(importlib.util.find_spec("pretrainedmodels").origin).parent
    spec = importlib.util.spec_from_file_location("bninception", package / "models" / "bninception.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    settings = module.pretrained_settings["bninception"]["imagenet"]
    assert settings["input_space"] == PREPROCESS["order"]
    assert settings["input_range"] == [0, PREPROCESS["scale"]]
    assert (settings["mean"], settings["std"]) == (PREPROCESS["mean"], PREPROCESS["std"])
    return module.bninception(pretrained=None)


@torch.inference_mode()
def outputs(network, dtype):
    network, logits = network.to(dtype), {}
    for size in SIZES:
        x = torch.from_numpy(picture(*size, PREPROCESS).transpose(0, 3, 1, 2).copy()).to(dtype)
        features = network.features(x)
        if features.shape[2:] == (7, 7):
            output = network.logits(features)
        else:  # a global average instead
            output = network.last_linear(features.mean((2, 3)))
        logits[size] = output[0].double().numpy()
    return logits


model = bninception().eval()
params = torch_params(model.state_dict())
left = model.load_state_dict({key: torch.from_numpy(tensor) for key, tensor in drawn(params).items()}, strict=False)
assert not left.unexpected_keys
assert all(key.endswith("num_batches_tracked") for key in left.missing_keys)
write(
    "pretrainedmodels_bninception",
    package="pretrainedmodels",
    version=f"{importlib.metadata.version('pretrainedmodels')}, torch {torch.__version__}",
    model="pretrainedmodels.bninception(pretrained=None).eval()",
    params=params,
    preprocess=PREPROCESS,
    logits={"float32": outputs(model, torch.float32), "float64": outputs(model, torch.float64)},
    note="163x197: the publisher's features, a global average for his 7x7 one, his last_linear",
)
