"""Published files of weights: where they lie, how they are recognized, and what they reached.

Addresses and hashes of what is `verified` are those in torchvision 0.29.1, timm 1.0.31 and 0.4.12, pretrainedmodels
0.7.4 and Keras 3.15.1. All were trained on ImageNet (ILSVRC 2012), which is for non-commercial research and education;
whether that binds a network trained on it, no publisher says.
"""

from typing import NamedTuple

from keras_inception.preprocessing import Preprocessing

TIMM = "https://github.com/rwightman/pytorch-image-models/releases/download/"

APACHE = "Apache-2.0"


class Published(NamedTuple):
    """One file of weights.

    Attributes:
        network: a key of `keras_inception.registry.NETWORKS`.
        publisher: its name in ``weights="imagenet:PUBLISHER"``.
        address: URL of the file.
        hash: ``"sha256:"``, ``"md5:"`` or ``"sha1:"`` and the digits that the publisher states, not always all of them;
            None if there are none.
        mib: size of the file in MiB, as published.
        licence: license of the weights, or of the package that publishes them where it states none for its weights.
        preprocessing: the preprocessing that the network was trained with.
        top1: top-1 accuracy in percent on ImageNet's validation images, one center crop, as published.
        top5: top-5 accuracy, likewise.
        source: source of the accuracies.
        verified: address and hash were taken from an installed package, not from a web page.
    """

    network: str
    publisher: str
    address: str
    hash: str | None
    mib: float | None
    licence: str
    preprocessing: Preprocessing
    top1: float
    top5: float | None
    source: str
    verified: bool = True


def torch_file(
    network: str,
    publisher: str,
    address: str,
    preprocessing: Preprocessing,
    top1: float,
    top5: float,
    *,
    mib: float | None = None,
    licence: str,
    source: str,
) -> Published:
    """Describe a file of torch's, whose name ends in the first digits of its SHA-256. See `Published`."""
    digits = address.rpartition("-")[2].removesuffix(".pth")
    return Published(network, publisher, address, f"sha256:{digits}", mib, licence, preprocessing, top1, top5, source)


def torchvision_file(
    network: str,
    file: str,
    preprocessing: Preprocessing,
    top1: float,
    top5: float,
    *,
    mib: float,
    publisher: str = "torchvision",
) -> Published:
    """Describe a file of torchvision's. See `Published`."""
    return torch_file(
        network,
        publisher,
        f"https://download.pytorch.org/models/{file}",
        preprocessing,
        top1,
        top5,
        mib=mib,
        licence="BSD-3-Clause (torchvision)",
        source="torchvision 0.29.1, metadata of the weights",
    )


def timm_file(network: str, address: str, preprocessing: Preprocessing, top1: float, top5: float) -> Published:
    """Describe a file of timm's. See `Published`."""
    source = "timm, results/results-imagenet.csv"
    return torch_file(network, "timm", address, preprocessing, top1, top5, licence=APACHE, source=source)


def keras_file(
    network: str, md5: str, mib: float, preprocessing: Preprocessing, top1: float, top5: float, licence: str = APACHE
) -> Published:
    """Describe a file of keras.applications. See `Published`."""
    return Published(
        network,
        "keras",
        "https://storage.googleapis.com/tensorflow/keras-applications/"
        f"{network}/{network}_weights_tf_dim_ordering_tf_kernels.h5",
        f"md5:{md5}",
        mib,
        licence,
        preprocessing,
        top1,
        top5,
        "keras.io/api/applications",
    )


def slim_file(network: str, file: str, preprocessing: Preprocessing, top1: float, top5: float) -> Published:
    """Describe an archive of TF-slim's, for which no hash is known. See `Published`."""
    return Published(
        network,
        "tf_slim",
        f"http://download.tensorflow.org/models/{file}",
        None,
        None,
        APACHE,
        preprocessing,
        top1,
        top5,
        "TF-slim, README",
        verified=False,
    )
