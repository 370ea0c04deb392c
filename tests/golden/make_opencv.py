"""Run Network in Network's Caffe graphs in OpenCV; see README_PEERS.md. Needs OpenCV 4 and NumPy."""

import re
from collections import defaultdict

import cv2
import numpy as np
from making import GOLDEN, drawn, picture, write

# Sizes and preprocessing of each network. At the first size the graph is as published. At the other one, the last
# pooling, whose window covers the whole map, is made global.
NETWORKS = {
    "caffe_nin_imagenet": (
        [(224, 224), (203, 240)],
        {"order": "BGR", "scale": 255.0, "mean": [104.0, 117.0, 123.0], "std": [1.0] * 3},
    ),
    # Its images are whitened beforehand. The image of draw.py has a mean of 0.45 and a standard deviation of 0.16.
    "caffe_nin_cifar10": (
        [(32, 32), (35, 50)],
        {"order": "RGB", "scale": 1.0, "mean": [0.45] * 3, "std": [0.16] * 3},
    ),
}
CONVOLUTION = re.compile(r'name: "(\S+)" type: "Convolution" .*num_output: (\d+) kernel_size: (\d+)')
LAST_POOL = re.compile(r"kernel_size: \d+ stride: 1 ")


def parameters(prototxt):
    """Return [layer/number, shape, kind] for each blob."""
    params, channels = [], 3
    for name, filters, size in CONVOLUTION.findall(prototxt):
        params.append([f"{name}/0", [int(filters), channels, int(size), int(size)], "conv_oihw"])
        params.append([f"{name}/1", [int(filters)], "bias"])
        channels = int(filters)
    return params


def varint(value):
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def field(number, content):
    """Return a length-delimited field of a protocol buffer."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def caffemodel(tensors):
    """Return a NetParameter of caffe.proto: field 100 is a layer (name 1, type 2, blobs 7 of data 5 and shape 7)."""
    blobs = defaultdict(bytes)
    for name, tensor in tensors.items():
        shape = field(1, b"".join(map(varint, tensor.shape)))
        blobs[name.rpartition("/")[0]] += field(7, field(5, tensor.astype("<f4").tobytes()) + field(7, shape))
    return b"".join(field(100, field(1, name.encode()) + field(2, b"Convolution") + b) for name, b in blobs.items())


def outputs(name, *, short_cuts):
    """Return the logits at every size, with or without OpenCV's layer fusion and Winograd convolutions."""
    sizes, preprocess = NETWORKS[name]
    published = (GOLDEN / f"{name}.prototxt").read_text()
    model, logits = caffemodel(drawn(parameters(published))), {}
    for height, width in sizes:
        prototxt = re.sub(r"dim: \d+ dim: \d+ }", f"dim: {height} dim: {width} }}", published)
        if (height, width) != sizes[0]:
            prototxt = LAST_POOL.sub("global_pooling: true ", prototxt)
        net = cv2.dnn.readNetFromCaffe(*(np.frombuffer(each, np.uint8) for each in (prototxt.encode(), model)))
        net.enableFusion(short_cuts)
        net.enableWinograd(short_cuts)
        net.setInput(picture(height, width, preprocess).transpose(0, 3, 1, 2).astype(np.float32))
        logits[height, width] = net.forward().ravel().astype(np.float64)
    return logits


for network, (_, preprocess) in NETWORKS.items():
    write(
        network,
        package="opencv-python-headless",
        version=cv2.__version__,
        model=f'cv2.dnn.readNetFromCaffe("{network}.prototxt", drawn weights)',
        params=parameters((GOLDEN / f"{network}.prototxt").read_text()),
        preprocess=preprocess,
        # OpenCV only has float32: the more literal of its two modes stands for the exact result.
        logits={key: outputs(network, short_cuts=key == "float32") for key in ("float32", "float64")},
        note="outputs are float32; noise is the distance to those with fused layers and Winograd's convolutions",
    )
