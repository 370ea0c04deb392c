"""Run networks in torch with the drawn weights at sizes other than 224×224; see README_SIZES.md. Needs torch and NumPy.

The networks are written out here in plain torch, by the tensors' own names. Each is first compared with the outputs of
its publisher's package at 224×224.
"""

import json
from pathlib import Path

import numpy as np
import torch
from draw import draw, draw_input
from torch.nn import functional as f

GOLDEN = Path(__file__).parent
MODULES = ["3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]
HEADS = {"4a": 1, "4d": 2}
STRIDE_2 = {"conv1", "conv1/7x7_s2"}


class TorchvisionNet:
    """GoogLeNet as in torchvision."""

    first_pool, stem, branches = "conv1", ("conv2", "conv3"), ("branch1", "branch2.0 branch2.1", "branch3.0 branch3.1")
    projection, head, outputs = "branch4.1", ("conv", "fc1", "fc2"), ("logits", "aux1", "aux2")
    module, auxiliary, classifier, last_pool = "inception{}.", "aux{}.", "fc", 2

    def __init__(self, weights):
        self.weights = weights

    def unit(self, x, name):
        kernel = self.weights[f"{name}.conv.weight"]
        x = f.conv2d(x, kernel, stride=1 + (name in STRIDE_2), padding=kernel.shape[-1] // 2)
        mean, variance, gamma, beta = (
            self.weights[f"{name}.bn.{key}"] for key in ("running_mean", "running_var", "weight", "bias")
        )
        return f.relu(f.batch_norm(x, mean, variance, gamma, beta, eps=1e-3))

    def dense(self, x, name):
        return f.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def norm(self, x):
        return x

    def head_pool(self, x):
        return f.adaptive_avg_pool2d(x, 4)

    def __call__(self, x, with_heads=True):
        outputs = {}
        x = self.norm(f.max_pool2d(self.unit(x, self.first_pool), 3, 2, ceil_mode=True))
        for name in self.stem:
            x = self.unit(x, name)
        x = f.max_pool2d(self.norm(x), 3, 2, ceil_mode=True)
        for key in MODULES:
            if key in ("4a", "5a"):
                x = f.max_pool2d(x, 3 if key == "4a" else self.last_pool, 2, ceil_mode=True)
            x = self.inception(x, self.module.format(key))
            if with_heads and key in HEADS:
                outputs[self.outputs[HEADS[key]]] = self.auxiliary_head(x, self.auxiliary.format(HEADS[key]))
        return {self.outputs[0]: self.dense(x.mean((2, 3)), self.classifier), **outputs}

    def inception(self, x, prefix):
        ends = []
        for branch in self.branches:
            y = x
            for name in branch.split():
                y = self.unit(y, prefix + name)
            ends.append(y)
        ends.append(self.unit(f.max_pool2d(x, 3, 1, padding=1), prefix + self.projection))
        return torch.cat(ends, 1)

    def auxiliary_head(self, x, prefix):
        conv, hidden, classifier = (prefix + name for name in self.head)
        x = self.unit(self.head_pool(x), conv)
        return self.dense(f.relu(self.dense(x.flatten(1), hidden)), classifier)


class CaffeNet(TorchvisionNet):
    """GoogLeNet as in Caffe, with a global average instead of its 7×7 one."""

    first_pool, stem = "conv1/7x7_s2", ("conv2/3x3_reduce", "conv2/3x3")
    branches, projection = ("1x1", "3x3_reduce 3x3", "5x5_reduce 5x5"), "pool_proj"
    head, outputs = ("conv", "fc", "classifier"), ("logits", "loss1", "loss2")
    module, auxiliary, classifier, last_pool = "inception_{}/", "loss{}/", "loss3/classifier", 3

    def unit(self, x, name):
        kernel, bias = self.weights[f"{name}/0"], self.weights[f"{name}/1"]
        return f.relu(f.conv2d(x, kernel, bias, stride=1 + (name in STRIDE_2), padding=kernel.shape[-1] // 2))

    def dense(self, x, name):
        return f.linear(x, self.weights[f"{name}/0"], self.weights[f"{name}/1"])

    def norm(self, x):
        return f.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)

    def head_pool(self, x):
        return f.avg_pool2d(x, 5, 3, ceil_mode=True)


def preprocessed(height, width, preprocess):
    x = draw_input(height, width, 0)
    x = x[..., ::-1] if preprocess["order"] == "BGR" else x
    x = (x * preprocess["scale"] - np.array(preprocess["mean"])) / np.array(preprocess["std"])
    return torch.from_numpy(x.transpose(0, 3, 1, 2).copy())


def sizes_of(network, fixture_name, sizes):
    fixture = json.loads((GOLDEN / fixture_name).read_text())
    salt = fixture["weights"]["salt"]
    net = network({n: torch.from_numpy(draw(n, s, k, salt)).double() for n, s, k in fixture["weights"]["params"]})
    preprocess = fixture["input"]["preprocess"]
    for name, output in net(preprocessed(224, 224, preprocess)).items():
        want = torch.tensor(fixture["variants"][0]["outputs"][name])
        assert (output[0] - want).abs().max() <= 1e-5 * want.abs().max(), (fixture_name, name)
    results = []
    for height, width, with_heads in sizes:
        outputs = net(preprocessed(height, width, preprocess), with_heads)
        values = {name: [float(f"{v:.8g}") for v in output[0, ::10]] for name, output in outputs.items()}
        results.append({"height": height, "width": width, "seed": 0, "outputs": values})
    return {"weights_and_preprocess_of": fixture_name, "sizes": results}


if __name__ == "__main__":
    torchvision = [(192, 256, True), (225, 193, True), (97, 131, True), (32, 33, True)]
    caffe = [(192, 256, False), (225, 238, True), (97, 131, False)]
    document = {
        "format": 1,
        "peer": {"package": "torch", "version": torch.__version__, "model": "make_sizes.py, in float64"},
        "networks": [
            sizes_of(TorchvisionNet, "tv_googlenet.json", torchvision),
            sizes_of(CaffeNet, "caffe_googlenet.json", caffe),
        ],
    }
    (GOLDEN / "sizes.json").write_text(json.dumps(document) + "\n")
