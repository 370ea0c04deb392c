"""Run timm's Inception v4 and Inception-ResNet v2; see README_PEERS.md. Needs timm, torch and NumPy."""

import timm
import torch
from making import drawn, picture, torch_params, write

SIZES = [(299, 299), (160, 192)]
PREPROCESS = {"order": "RGB", "scale": 1.0, "mean": [0.5] * 3, "std": [0.5] * 3}


@torch.inference_mode()
def outputs(network, dtype):
    network = network.to(dtype)
    pictures = {size: torch.from_numpy(picture(*size, PREPROCESS).transpose(0, 3, 1, 2).copy()) for size in SIZES}
    return {size: network(x.to(dtype))[0].double().numpy() for size, x in pictures.items()}


for name in ("inception_v4", "inception_resnet_v2"):
    model = timm.create_model(name, pretrained=False).eval()
    params = torch_params(model.state_dict())
    weights = {key: torch.from_numpy(tensor) for key, tensor in drawn(params).items()}
    left = model.load_state_dict(weights, strict=False)
    assert not left.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in left.missing_keys)
    write(
        f"timm_{name}",
        package="timm",
        version=f"{timm.__version__}, torch {torch.__version__}",
        model=f'timm.create_model("{name}", pretrained=False).eval()',
        params=params,
        preprocess=PREPROCESS,
        logits={"float32": outputs(model, torch.float32), "float64": outputs(model, torch.float64)},
    )
