"""Published ImageNet weights: where they lie, what they are known by, and what they reached.

Addresses and hashes of what is `verified` are those in torchvision 0.29.1, timm 1.0.31 and 0.4.12, pretrainedmodels
0.7.4 and Keras 3.15.1. All were trained on ImageNet (ILSVRC 2012), which is for non-commercial research and education;
whether that binds a network trained on it, no publisher says.
"""

import contextlib
import errno
import hashlib
import http.client
import logging
import os
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeGuard

from keras_inception.preprocessing import NAMED, Preprocessing
from keras_inception.utils import files

logger = logging.getLogger(__name__)

IMAGENET = "imagenet"
TIMEOUT = 30  # seconds without a byte
CHUNK = 1 << 20


class Published(NamedTuple):
    """One file of weights.

    Attributes:
        network: a key of `keras_inception.registry.NETWORKS`.
        publisher: its name in ``weights="imagenet:PUBLISHER"``.
        address: of the file.
        hash: ``"sha256:"``, ``"md5:"`` or ``"sha1:"`` and the digits that the publisher gives, not always all of them;
            None if there are none.
        mib: size of the file in MiB, as published.
        licence: of the weights, or of the package that publishes them where it says nothing of its weights.
        preprocessing: what the network was trained on.
        top1, top5: accuracy in per cent on ImageNet's validation pictures, one centre crop, as published.
        source: of the accuracy.
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


TORCH = "https://download.pytorch.org/models/"
KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/"
TIMM = "https://github.com/rwightman/pytorch-image-models/releases/download/"
SLIM = "http://download.tensorflow.org/models/"

TORCH_LICENCE = "BSD-3-Clause (torchvision)"
VGG_LICENCE = "CC-BY-4.0"

TORCH_SOURCE = "torchvision 0.29.1, metadata of the weights"
KERAS_SOURCE = "keras.io/api/applications"
TIMM_SOURCE = "timm, results/results-imagenet.csv"
SLIM_SOURCE = "TF-slim, README"

# torchvision's googlenet and inception_v3 were trained with TensorFlow's range: `transform_input` is composed in.
TORCH_V3 = NAMED["torchvision_unit"].replace(size=(299, 299), crop=299 / 342)
KERAS_299 = NAMED["keras"].replace(size=(299, 299))
# timm rounds the 341.7 of 299 / 0.875 down.
TIMM_299 = NAMED["torchvision_unit"].replace(size=(299, 299), crop=299 / 341, interpolation="bicubic")

# The first verified one of a network is what ``weights="imagenet"`` takes.
PUBLISHED = (
    Published(
        "alexnet",
        "torchvision",
        TORCH + "alexnet-owt-7be5be79.pth",
        "sha256:7be5be79",
        233.087,
        TORCH_LICENCE,
        NAMED["torchvision"],
        56.522,
        79.066,
        TORCH_SOURCE,
    ),
    Published(
        "bn_inception",
        "pretrainedmodels",
        "http://data.lip6.fr/cadene/pretrainedmodels/bn_inception-52deb4733.pth",
        "sha256:52deb4733",
        None,
        "not stated",
        NAMED["caffe"].replace(mean=(104.0, 117.0, 128.0), fitting="shorter", antialias=True),
        73.524,
        91.562,
        "pretrainedmodels 0.7.4, README",
    ),
    Published(
        "googlenet",
        "torchvision",
        TORCH + "googlenet-1378be20.pth",
        "sha256:1378be20",
        49.731,
        TORCH_LICENCE,
        NAMED["torchvision_unit"],
        69.778,
        89.530,
        TORCH_SOURCE,
    ),
    Published(
        "googlenet",
        "caffe",
        "http://dl.caffe.berkeleyvision.org/bvlc_googlenet.caffemodel",
        "sha1:405fc5acd08a3bb12de8ee5e23a96bec22f08204",
        None,
        "unrestricted",
        NAMED["caffe"],
        68.7,
        88.9,
        "Caffe, models/bvlc_googlenet/readme.md",
        verified=False,
    ),
    Published(
        "googlenet",
        "tf_slim",
        SLIM + "inception_v1_2016_08_28.tar.gz",
        None,
        None,
        "Apache-2.0",
        NAMED["inception"],
        69.8,
        89.6,
        SLIM_SOURCE,
        verified=False,
    ),
    Published(
        "inception_resnet_v2",
        "timm",
        TIMM + "v0.1-weights/inception_resnet_v2-940b1cd6.pth",
        "sha256:940b1cd6",
        None,
        "Apache-2.0",
        TIMM_299.replace(crop=0.8975),
        80.462,
        95.308,
        TIMM_SOURCE,
    ),
    Published(
        "inception_resnet_v2",
        "keras",
        KERAS + "inception_resnet_v2/inception_resnet_v2_weights_tf_dim_ordering_tf_kernels.h5",
        "md5:e693bd0210a403b3192acc6073ad2e96",
        215,
        "Apache-2.0",
        KERAS_299,
        80.3,
        95.3,
        KERAS_SOURCE,
    ),
    Published(
        "inception_v3",
        "torchvision",
        TORCH + "inception_v3_google-0cc3c7bd.pth",
        "sha256:0cc3c7bd",
        103.903,
        TORCH_LICENCE,
        TORCH_V3,
        77.294,
        93.450,
        TORCH_SOURCE,
    ),
    Published(
        "inception_v3",
        "keras",
        KERAS + "inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels.h5",
        "md5:9a0d58056eeedaa3f26cb7ebd46da564",
        92,
        "Apache-2.0",
        KERAS_299,
        77.9,
        93.7,
        KERAS_SOURCE,
    ),
    Published(
        "inception_v3",
        "timm",  # gluon's
        TIMM + "v0.1-weights/gluon_inception_v3-9f746940.pth",
        "sha256:9f746940",
        None,
        "Apache-2.0",
        NAMED["torchvision"].replace(size=(299, 299), crop=299 / 341, interpolation="bicubic"),
        78.806,
        94.374,
        TIMM_SOURCE,
    ),
    Published(
        "inception_v3",
        "tf_slim",
        SLIM + "inception_v3_2016_08_28.tar.gz",
        None,
        None,
        "Apache-2.0",
        NAMED["inception"].replace(size=(299, 299)),
        78.0,
        93.9,
        SLIM_SOURCE,
        verified=False,
    ),
    Published(
        "inception_v4",
        "timm",
        TIMM + "v0.1-cadene/inceptionv4-8e4777a0.pth",
        "sha256:8e4777a0",
        None,
        "Apache-2.0",
        TIMM_299,
        80.156,
        94.968,
        TIMM_SOURCE,
    ),
    Published(
        "network_in_network",
        "caffe",
        "https://www.dropbox.com/s/0cidxafrb2wuwxw/nin_imagenet.caffemodel?dl=1",
        "sha1:8e89c8fcd46e02780e16c867a5308e7bb7af0803",  # which nin_cifar10's readme gives too: one of them is wrong
        29,
        "non-commercial",
        NAMED["caffe"],
        59.36,
        None,
        "the readme of Caffe's Network in Network Imagenet Model",
        verified=False,
    ),
    Published(
        "resnet34",
        "torchvision",
        TORCH + "resnet34-b627a593.pth",
        "sha256:b627a593",
        83.275,
        TORCH_LICENCE,
        NAMED["torchvision"],
        73.314,
        91.420,
        TORCH_SOURCE,
    ),
    Published(
        "resnet34",
        "timm",  # gluon's
        "https://github.com/rwightman/pytorch-pretrained-gluonresnet/releases/download/v0.1/"
        "gluon_resnet34_v1b-c6d82d59.pth",
        "sha256:c6d82d59",
        None,
        "Apache-2.0",
        NAMED["torchvision"].replace(interpolation="bicubic"),
        74.578,
        91.984,
        TIMM_SOURCE,
    ),
    Published(
        "vgg16",
        "torchvision",
        TORCH + "vgg16-397923af.pth",
        "sha256:397923af",
        527.796,
        TORCH_LICENCE,
        NAMED["torchvision"],
        71.592,
        90.382,
        TORCH_SOURCE,
    ),
    Published(
        "vgg16",
        "torchvision_bn",
        TORCH + "vgg16_bn-6c64b313.pth",
        "sha256:6c64b313",
        527.866,
        TORCH_LICENCE,
        NAMED["torchvision"],
        73.360,
        91.516,
        TORCH_SOURCE,
    ),
    Published(
        "vgg16",
        "keras",
        KERAS + "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels.h5",
        "md5:64373286793e3c8b2b4e3219cbf3544b",
        528,
        VGG_LICENCE,
        NAMED["keras_caffe"],
        71.3,
        90.1,
        KERAS_SOURCE,
    ),
    Published(
        "vgg19",
        "torchvision",
        TORCH + "vgg19-dcbb9e9d.pth",
        "sha256:dcbb9e9d",
        548.051,
        TORCH_LICENCE,
        NAMED["torchvision"],
        72.376,
        90.876,
        TORCH_SOURCE,
    ),
    Published(
        "vgg19",
        "torchvision_bn",
        TORCH + "vgg19_bn-c79401a0.pth",
        "sha256:c79401a0",
        548.143,
        TORCH_LICENCE,
        NAMED["torchvision"],
        74.218,
        91.842,
        TORCH_SOURCE,
    ),
    Published(
        "vgg19",
        "keras",
        KERAS + "vgg19/vgg19_weights_tf_dim_ordering_tf_kernels.h5",
        "md5:cbe5617147190e668d6c5d5026f83318",
        549,
        VGG_LICENCE,
        NAMED["keras_caffe"],
        71.3,
        90.0,
        KERAS_SOURCE,
    ),
)


def is_published(weights) -> TypeGuard[str]:
    """Whether an argument `weights` is ``"imagenet"`` or ``"imagenet:PUBLISHER"``, and not a path."""
    return isinstance(weights, str) and (weights == IMAGENET or weights.startswith(f"{IMAGENET}:"))


def check_weights(weights: str | os.PathLike) -> None:
    """Raise FileNotFoundError if `weights` is the path of a file, or of a run directory, that is not there."""
    if not is_published(weights) and not os.path.exists(weights):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(weights))


def of(network: str) -> tuple[Published, ...]:
    """What is published for a network."""
    return tuple(entry for entry in PUBLISHED if entry.network == network)


def find(weights: str, network: str) -> Published:
    """The weights that ``"imagenet"`` or ``"imagenet:PUBLISHER"`` means for a network.

    Raises:
        ValueError: nobody has published such.
    """
    entries = of(network)
    names = ", ".join(f"{IMAGENET}:{entry.publisher}" for entry in entries)
    if not entries:
        raise ValueError(
            f"`weights` must be None or a file: no ImageNet weights of {network} are published. "
            f"Received: weights={weights!r}"
        )
    if weights == IMAGENET:
        if verified := [entry for entry in entries if entry.verified]:
            return verified[0]
        raise ValueError(
            f"`weights` must name one of {names}: for {network}, none could be checked against an "
            f"installed package. Received: weights={weights!r}"
        )
    for entry in entries:
        if weights == f"{IMAGENET}:{entry.publisher}":
            return entry
    raise ValueError(f"`weights` must be one of {IMAGENET}, {names}. Received: weights={weights!r}")


def cache() -> Path:
    """Where downloaded weights lie: in Keras' folder, which the environment's KERAS_HOME moves."""
    home = os.environ.get("KERAS_HOME")
    if not home:
        user = os.path.expanduser("~")
        home = os.path.join(user if os.access(user, os.W_OK) else tempfile.gettempdir(), ".keras")
    return Path(home, "models", "keras_inception")


def fetch(entry: Published) -> Path:
    """The file of published weights, downloaded unless a whole one is in the cache.

    Raises:
        ValueError: the file that came is not the one published; or no hash is known that could tell.
        OSError: it cannot be downloaded, or not be written.
    """
    path = cache() / entry.address.rpartition("/")[2].partition("?")[0]
    if entry.hash is None:
        raise ValueError(
            f"the hash of {entry.address} is not known, so it is not downloaded: fetch and unpack it yourself, and "
            f"give the path of the file as `weights`. Received: weights='{IMAGENET}:{entry.publisher}'"
        )
    if path.is_file() and not _is_whole(path, entry.hash):
        logger.warning("%s is broken and is downloaded again", path)
        path.unlink()
    if not path.is_file():
        download(entry.address, path, entry.hash)
    return path


def download(address: str, path: Path, hash: str) -> None:
    """Download a file under the name `path`, whole and with that hash or not at all.

    Raises:
        ValueError: the file has another hash.
        OSError: it cannot be downloaded, or not be written.
    """
    with files.replacing(path) as beside:
        try:
            _copy(address, beside)
        except (OSError, http.client.HTTPException) as error:
            raise ConnectionError(
                f"{address} cannot be downloaded to {path}: {error or type(error).__name__}"
            ) from None
        if not _is_whole(beside, hash):
            raise ValueError(
                f"{address} is not the file that was published, and was not kept as {path}. Its hash "
                f"must be {hash}. Received: {_digest(beside, hash)}"
            )


def _copy(address: str, path: Path) -> None:
    """Write what an address answers; OSError if it is less than it announces."""
    request = urllib.request.Request(address, headers={"User-Agent": "keras-inception"})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response, open(path, "wb") as file:
        announced = response.length  # None if it is not
        with _progress(f"Downloading {address}", announced) as show:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                show(len(chunk))
        if announced is not None and file.tell() != announced:
            raise OSError(f"it ended after {file.tell()} of {announced} bytes")


def _digest(path: Path, hash: str) -> str:
    """The hash of a file, by the algorithm and in the length of `hash`."""
    algorithm, _, digits = hash.partition(":")
    with open(path, "rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()[: len(digits)]}"


def _is_whole(path: Path, hash: str) -> bool:
    return _digest(path, hash) == hash


@contextlib.contextmanager
def _progress(text: str, total: int | None) -> Iterator:
    """A progress bar on standard error, if that is a terminal or a notebook: call it with the bytes that came."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    logger.info(text)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    seen = console.is_terminal or console.is_jupyter
    with Progress(*columns, console=console, transient=True, disable=not seen) as bar:
        task = bar.add_task(text, total=total)
        yield lambda count: bar.advance(task, count)
