"""Registry of networks: one row per network. Every other list of networks is derived from it."""

from collections.abc import Callable
from importlib import import_module
from importlib.util import resolve_name
from typing import TYPE_CHECKING, NamedTuple

from keras_inception.utils.suggestions import did_you_mean

if TYPE_CHECKING:
    import keras


class Network(NamedTuple):
    """A network's factory, and its key figures with default arguments.

    The figures are hard-coded so that nothing has to be built to look them up. A test checks them.

    Attributes:
        factory: ``"module:function"``. A module that begins with a dot is relative to `keras_inception`.
        size: height and width of the input, in pixels.
        parameters: number of trainable parameters.
        macs: multiply-adds for one image of that size.
        heads: names of the auxiliary classifiers that ``auxiliary=True`` adds.
    """

    factory: str
    size: int
    parameters: int
    macs: int
    heads: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """The module part of `factory`."""
        return self.factory.partition(":")[0]

    @property
    def function(self) -> str:
        """The function part of `factory`. `keras_inception` exports the function under this name."""
        return self.factory.partition(":")[2]


NETWORKS = {
    "alexnet": Network(".models.alexnet:AlexNet", 224, 61_100_840, 714_188_480),
    "bn_inception": Network(".models.bn_inception:BNInception", 224, 11_295_240, 2_032_600_064),
    "googlenet": Network(".models.googlenet:GoogLeNet", 224, 6_998_552, 1_582_671_872, ("aux_4a", "aux_4d")),
    "inception_resnet_v2": Network(".models.inception_v4:InceptionResNetV2", 299, 55_843_464, 13_155_794_016),
    "inception_v2": Network(".models.inception_v3:InceptionV2", 299, 23_815_336, 5_299_886_272, ("aux",)),
    "inception_v3": Network(".models.inception_v3:InceptionV3", 299, 23_834_568, 5_713_216_096, ("aux",)),
    "inception_v4": Network(".models.inception_v4:InceptionV4", 299, 42_679_816, 12_253_974_624),
    "network_in_network": Network(".models.network_in_network:NetworkInNetwork", 224, 7_595_176, 1_100_188_800),
    "plain34": Network(".models.resnet:Plain34", 224, 21_623_848, 3_644_493_824),
    "resnet34": Network(".models.resnet:ResNet34", 224, 21_797_672, 3_663_761_408),
    "vgg16": Network(".models.vgg:VGG16", 224, 138_357_544, 15_470_264_320),
    "vgg19": Network(".models.vgg:VGG19", 224, 143_667_240, 19_632_062_464),
}

# Networks of keras.applications, which are called ``keras:NAME``. They are listed so that Keras need not be imported.
OF_KERAS = "keras:"
APPLICATIONS = (
    *("ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtSmall", "ConvNeXtTiny", "ConvNeXtXLarge"),
    *("DenseNet121", "DenseNet169", "DenseNet201"),
    *("EfficientNetB0", "EfficientNetB1", "EfficientNetB2", "EfficientNetB3"),
    *("EfficientNetB4", "EfficientNetB5", "EfficientNetB6", "EfficientNetB7"),
    *("EfficientNetV2B0", "EfficientNetV2B1", "EfficientNetV2B2", "EfficientNetV2B3"),
    *("EfficientNetV2L", "EfficientNetV2M", "EfficientNetV2S"),
    *("InceptionResNetV2", "InceptionV3", "MobileNet", "MobileNetV2", "MobileNetV3Large", "MobileNetV3Small"),
    *("NASNetLarge", "NASNetMobile", "ResNet50", "ResNet50V2", "ResNet101", "ResNet101V2", "ResNet152", "ResNet152V2"),
    *("VGG16", "VGG19", "Xception"),
)


def list_models() -> list[str]:
    """Return the names that `create` accepts."""
    return list(NETWORKS)


def resolve(name: str) -> str:
    """Return the key in `NETWORKS` for a name, ignoring case, ``_`` and ``-``; or ``keras:NAME`` for one of Keras.

    Raises:
        ValueError: there is no such network.
    """
    if is_of_keras(name):
        return OF_KERAS + _application(name[len(OF_KERAS) :])
    known = {_plain(key): key for key in NETWORKS}
    if not isinstance(name, str) or _plain(name) not in known:
        hint = did_you_mean(str(name), [network.function for network in NETWORKS.values()])
        raise ValueError(f"`model` must be one of {', '.join(NETWORKS)}.{hint} Received: {name!r}")
    return known[_plain(name)]


def is_of_keras(name: str) -> bool:
    """Return whether a name is that of a network of keras.applications, ``keras:NAME``."""
    return isinstance(name, str) and name.lower().startswith(OF_KERAS)


def _application(name: str) -> str:
    known = {_plain(each): each for each in APPLICATIONS}
    if _plain(name) not in known:
        hint = did_you_mean(name, APPLICATIONS)
        raise ValueError(
            f"`model` must be keras: and a network of keras.applications, one of {', '.join(APPLICATIONS)}.{hint} "
            f"Received: {name!r}"
        )
    return known[_plain(name)]


def family(name: str) -> str:
    """Return the module that defines a network. Networks of one family share a module, and options."""
    return name if is_of_keras(name) else NETWORKS[name].module


def heads(name: str) -> tuple[str, ...]:
    """Return the names of a network's auxiliary classifiers."""
    return () if is_of_keras(name) else NETWORKS[name].heads


def factory(name: str) -> "Callable[..., keras.Model]":
    """Import and return a network's factory.

    Raises:
        ValueError: there is no such network.
    """
    key = resolve(name)
    if is_of_keras(key):
        return import_module(".models.applications", __package__).factory(key[len(OF_KERAS) :])
    network = NETWORKS[key]
    return getattr(import_module(network.module, __package__), network.function)


def create(name: str, **options) -> "keras.Model":
    """Build a network by name: ``create("inception_v3", classes=10)`` is ``InceptionV3(classes=10)``.

    Args:
        name: one of `list_models`, in any spelling: case, ``_`` and ``-`` are ignored. Or ``keras:NAME`` for a network
            of keras.applications, with a classifier of its own (`keras_inception.models.applications`).
        options: arguments of the network's factory.

    Raises:
        ValueError: there is no such network, or an argument is invalid.
        TypeError: the network does not take an argument.
    """
    return factory(name)(**options)


def public(package: str) -> dict[str, str]:
    """Return the factories that a package exports, by name, each with its module path relative to the package."""
    modules = {network.function: resolve_name(network.module, __package__) for network in NETWORKS.values()}
    return {name: module.removeprefix(f"{package}.") for name, module in modules.items()}


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
