"""Networks by name."""

from typing import TYPE_CHECKING, NamedTuple

from keras_inception.models import HOMES
from keras_inception.utils.suggestions import did_you_mean

if TYPE_CHECKING:
    import keras

# Name -> the factory, a public name of `keras_inception`.
NETWORKS = {
    "alexnet": "AlexNet",
    "bn_inception": "BNInception",
    "googlenet": "GoogLeNet",
    "inception_resnet_v2": "InceptionResNetV2",
    "inception_v2": "InceptionV2",
    "inception_v3": "InceptionV3",
    "inception_v4": "InceptionV4",
    "network_in_network": "NetworkInNetwork",
    "plain34": "Plain34",
    "resnet34": "ResNet34",
    "vgg16": "VGG16",
    "vgg19": "VGG19",
}
WITH_HEADS = ("googlenet", "inception_v2", "inception_v3")  # that take `auxiliary=True`


class Figures(NamedTuple):
    """A network with its default arguments: side of its input, trainable parameters, and multiply-adds at that side."""

    size: int
    parameters: int
    macs: int


# Here, so that they are known without building anything; a test computes them anew.
FIGURES = {
    "alexnet": Figures(224, 61_100_840, 714_188_480),
    "bn_inception": Figures(224, 11_295_240, 2_032_600_064),
    "googlenet": Figures(224, 6_998_552, 1_582_671_872),
    "inception_resnet_v2": Figures(299, 55_843_464, 13_155_794_016),
    "inception_v2": Figures(299, 23_815_336, 5_299_886_272),
    "inception_v3": Figures(299, 23_834_568, 5_713_216_096),
    "inception_v4": Figures(299, 42_679_816, 12_253_974_624),
    "network_in_network": Figures(224, 7_595_176, 1_100_188_800),
    "plain34": Figures(224, 21_623_848, 3_644_493_824),
    "resnet34": Figures(224, 21_797_672, 3_663_761_408),
    "vgg16": Figures(224, 138_357_544, 15_470_264_320),
    "vgg19": Figures(224, 143_667_240, 19_632_062_464),
}


def list_models() -> list[str]:
    """The names that `create` knows."""
    return list(NETWORKS)


def resolve(name: str) -> str:
    """The key in `NETWORKS` of a name; neither case nor ``_`` and ``-`` matter. ValueError if there is none."""
    known = {_plain(key): key for key in NETWORKS}
    if _plain(name) not in known:
        hint = did_you_mean(name, NETWORKS.values())
        raise ValueError(f"`model` must be one of {', '.join(NETWORKS)}.{hint} Received: {name!r}")
    return known[_plain(name)]


def family(name: str) -> str:
    """The file of `keras_inception.models` that the network of a key in `NETWORKS` is in."""
    return HOMES.get(NETWORKS[name], name)


def create(name: str, **options) -> "keras.Model":
    """The network of that name: ``create("inception_v3", classes=10)`` is ``InceptionV3(classes=10)``.

    Neither case nor ``_`` and ``-`` matter.

    Raises:
        ValueError: there is no such network.
    """
    import keras_inception

    return getattr(keras_inception, NETWORKS[resolve(name)])(**options)


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
