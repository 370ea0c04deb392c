"""Published weights files: their addresses, hashes and accuracies.

Addresses and hashes of `verified` files are those in torchvision 0.29.1, timm 1.0.31 and 0.4.12, pretrainedmodels 0.7.4
and Keras 3.15.1. All networks were trained on ImageNet (ILSVRC 2012), which is for non-commercial research and
education. No publisher says whether that also applies to networks trained on it.
"""

from typing import NamedTuple

from keras_inception.preprocessing import Preprocessing

APACHE = "Apache-2.0"
GITHUB = "https://github.com/rwightman/"


class Published(NamedTuple):
    """One file of weights.

    Attributes:
        network: a key of `keras_inception.registry.NETWORKS`.
        publisher: its name in ``weights="imagenet:PUBLISHER"``.
        address: URL of the file.
        hash: ``"sha256:"``, ``"md5:"`` or ``"sha1:"`` and the digits that the publisher states, sometimes only the
            first ones; None if unknown.
        mib: size of the file in MiB, as published; None if unknown.
        licence: license of the weights, or of the package that publishes them if it states none for the weights.
        preprocessing: the preprocessing that the network was trained with.
        top1: top-1 accuracy in percent on ImageNet's validation images, one center crop, as published.
        top5: top-5 accuracy, likewise; None if unknown.
        source: source of the accuracies.
        verified: whether address and hash were taken from an installed package, not from a web page.
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
    verified: bool


class Publisher(NamedTuple):
    """Fields that the files of one publisher share. See `Published`.

    Attributes:
        name: the publisher's name.
        address: URL template with the fields ``{network}`` and ``{file}``.
        licence: license of the files.
        source: source of their accuracies.
        verified: whether addresses and hashes were taken from an installed package.
    """

    name: str
    address: str
    licence: str
    source: str
    verified: bool = True

    def file(
        self,
        network: str,
        file: str,
        preprocessing: Preprocessing,
        top1: float,
        top5: float | None,
        mib: float | None = None,
        *,
        hash: str | None = None,
    ) -> Published:
        """Describe one of the publisher's files.

        `file` replaces ``{file}`` in the address; the other arguments are attributes of `Published`. torch's file
        names, which end in .pth, contain the first digits of the SHA-256 and need no `hash`.
        """
        address = self.address.format(network=network, file=file)
        if file.endswith(".pth"):
            hash = f"sha256:{file.rpartition('-')[2].removesuffix('.pth')}"
        facts = (address, hash, mib, self.licence, preprocessing, top1, top5, self.source, self.verified)
        return Published(network, self.name, *facts)


TORCHVISION = Publisher(
    "torchvision",
    "https://download.pytorch.org/models/{file}",
    licence="BSD-3-Clause (torchvision)",
    source="torchvision 0.29.1, metadata of the weights",
)
TIMM = Publisher(
    "timm",
    GITHUB + "pytorch-image-models/releases/download/{file}",
    licence=APACHE,
    source="timm, results/results-imagenet.csv",
)
PRETRAINEDMODELS = Publisher(
    "pretrainedmodels",
    "http://data.lip6.fr/cadene/pretrainedmodels/{file}",
    licence="not stated",
    source="pretrainedmodels 0.7.4, README",
)
KERAS = Publisher(
    "keras",
    "https://storage.googleapis.com/tensorflow/keras-applications/"
    "{network}/{network}_weights_tf_dim_ordering_{file}.h5",
    licence=APACHE,
    source="keras.io/api/applications",
)
# No hashes of TF-slim's archives are known.
TF_SLIM = Publisher(
    "tf_slim", "http://download.tensorflow.org/models/{file}", APACHE, source="TF-slim, README", verified=False
)
