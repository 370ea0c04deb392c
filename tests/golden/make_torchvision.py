"""Run torchvision's AlexNet and VGG-16 with batch norm; see README_PEERS.md. Needs torchvision and NumPy."""

import torch
import torchvision
from making import drawn, picture, torch_params, write

# The last map of 97×131 is smaller than the 6×6 and 7×7 to which it is pooled.
SIZES = {"alexnet": [(224, 224), (97, 131)], "vgg16_bn": [(97, 131)]}
PREPROCESS = {"order": "RGB", "scale": 1.0, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


@torch.inference_mode()
def outputs(network, dtype, sizes):
    network = network.to(dtype)
    pictures = {size: torch.from_numpy(picture(*size, PREPROCESS).transpose(0, 3, 1, 2).copy()) for size in sizes}
    return {size: network(x.to(dtype))[0].double().numpy() for size, x in pictures.items()}


for name, sizes in SIZES.items():
    model = torchvision.models.get_model(name, weights=None).eval()
    params = torch_params(model.state_dict())
    weights = {key: torch.from_numpy(tensor) for key, tensor in drawn(params).items()}
    left = model.load_state_dict(weights, strict=False)
    assert not left.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in left.missing_keys)
    write(
        f"tv_{name}",
        package="torchvision",
        version=f"{torchvision.__version__}, torch {torch.__version__}",
        model=f"torchvision.models.{name}(weights=None).eval()",
        params=params,
        preprocess=PREPROCESS,
        logits={str(dtype)[6:]: outputs(model, dtype, sizes) for dtype in (torch.float32, torch.float64)},
    )
