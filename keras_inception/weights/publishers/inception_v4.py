"""Publishers of Inception v4 and Inception-ResNet v2."""

import re

from keras_inception.preprocessing import NAMED
from keras_inception.weights.publishers import published
from keras_inception.weights.publishers.namemap import TORCH_VARIABLES, NameMap, keras_map, names

SIZE = (299, 299)
# timm rounds 299 / 0.875 = 341.7 down.
V4 = NAMED["torchvision_unit"].replace(size=SIZE, crop=299 / 341, interpolation="bicubic")
RESNET_V2 = V4.replace(crop=0.8975)
KERAS = NAMED["keras"].replace(size=SIZE)


def _reduced(branch: str, name: str, convolutions: int = 1) -> dict[str, str]:
    """Return timm's names in a branch, with those that `blocks.reduced` gives."""
    ours = [name] if convolutions == 1 else [f"{name}_{i}" for i in range(1, convolutions + 1)]
    return {f"{branch}.{i}": layer for i, layer in enumerate([f"{name}_reduce", *ours])}


# timm's layers and ours in each kind of module, in the order in which keras.applications creates them.
ONE = {"branch0": "1x1"}
THREES = {**_reduced("branch1", "3x3"), **_reduced("branch2", "double_3x3", 2)}
PROJECTION = {"branch3.1": "pool_proj"}
REDUCTION_A = {"branch0": "3x3", **_reduced("branch1", "double_3x3", 2)}

INCEPTION_A = {**ONE, **THREES, **PROJECTION}
INCEPTION_B = {**ONE, **_reduced("branch1", "7x7", 2), **_reduced("branch2", "double_7x7", 4), **PROJECTION}
INCEPTION_C = {
    **ONE,
    **names("branch1_0=3x3_reduce branch1_1a=3x3_1x3 branch1_1b=3x3_3x1"),
    **names("branch2_0=double_3x3_reduce branch2_1=double_3x3_1 branch2_2=double_3x3_2"),
    **names("branch2_3a=double_3x3_3_1x3 branch2_3b=double_3x3_3_3x1"),
    **PROJECTION,
}
V4_REDUCTION = {**_reduced("branch0", "3x3"), **_reduced("branch1", "7x7", 3)}
V4_MODULES = [  # from features.3 on
    ("mixed_3a", {"conv": "3x3"}),
    ("mixed_4a", V4_REDUCTION),
    ("mixed_5a", {"conv": "3x3"}),
    *((f"mixed_5{letter}", INCEPTION_A) for letter in "bcde"),
    ("mixed_6a", REDUCTION_A),
    *((f"mixed_6{letter}", INCEPTION_B) for letter in "bcdefgh"),
    ("mixed_7a", V4_REDUCTION),
    *((f"mixed_7{letter}", INCEPTION_C) for letter in "bcd"),
]
V4_NAMES = {
    **names(r"features\.0=conv2d_1a features\.1=conv2d_2a features\.2=conv2d_2b last_linear=predictions"),
    **{
        re.escape(f"features.{i}.{layer}"): f"{stage}_{name}"
        for i, (stage, kind) in enumerate(V4_MODULES, 3)
        for layer, name in kind.items()
    },
}

RESNET_5B = {**ONE, **_reduced("branch1", "5x5"), **_reduced("branch2", "double_3x3", 2), **PROJECTION}
RESNET_7A = {**_reduced("branch0", "3x3_a"), **_reduced("branch1", "3x3_b"), **_reduced("branch2", "double_3x3", 2)}
BLOCK35 = [(f"repeat.{i}", f"block35_{i + 1}") for i in range(10)]
BLOCK17 = [(f"repeat_1.{i}", f"block17_{i + 1}") for i in range(20)]
BLOCK8 = [*((f"repeat_2.{i}", f"block8_{i + 1}") for i in range(9)), ("block8", "block8_10")]
RESNET_MODULES = [
    ("mixed_5b", "mixed_5b", RESNET_5B),
    *((theirs, ours, {**ONE, **THREES}) for theirs, ours in BLOCK35),
    ("mixed_6a", "mixed_6a", REDUCTION_A),
    *((theirs, ours, {**ONE, **_reduced("branch1", "7x7", 2)}) for theirs, ours in BLOCK17),
    ("mixed_7a", "mixed_7a", RESNET_7A),
    *((theirs, ours, {**ONE, **_reduced("branch1", "3x3", 2)}) for theirs, ours in BLOCK8),
]
# timm's names of all convolutions with batch norm except the last, and ours.
RESNET_CONVOLUTIONS = {
    **{f"conv2d_{name}": f"conv2d_{name}" for name in ("1a", "2a", "2b", "3b", "4a")},
    **{f"{theirs}.{layer}": f"{ours}_{name}" for theirs, ours, kind in RESNET_MODULES for layer, name in kind.items()},
}
RESNET_NAMES = {
    **{re.escape(theirs): ours for theirs, ours in RESNET_CONVOLUTIONS.items()},
    **{re.escape(f"{theirs}.conv2d"): f"{ours}_conv" for theirs, ours in BLOCK35 + BLOCK17 + BLOCK8},
    **names("conv2d_7b=conv2d_7b classif=predictions"),
}
KERAS_NAMES = names(r"(block\d+_\d+_conv)=\1 conv_7b=conv2d_7b conv_7b_bn=conv2d_7b_bn predictions=predictions")

# timm's first files have a "background" class, like the TF-slim files that they were converted from; later ones do not.
PUBLISHERS = {
    "inception_v4": {"timm": NameMap(V4_NAMES, TORCH_VARIABLES, V4, background=True)},
    "inception_resnet_v2": {
        "timm": NameMap(RESNET_NAMES, TORCH_VARIABLES, RESNET_V2, background=True),
        "keras": keras_map(KERAS_NAMES, KERAS, RESNET_CONVOLUTIONS.values()),
    },
}
MD5 = "md5:e693bd0210a403b3192acc6073ad2e96"
PUBLISHED = (
    published.TIMM.file("inception_v4", "v0.1-cadene/inceptionv4-8e4777a0.pth", V4, 80.156, 94.968),
    published.TIMM.file(
        "inception_resnet_v2", "v0.1-weights/inception_resnet_v2-940b1cd6.pth", RESNET_V2, 80.462, 95.308
    ),
    published.KERAS.file("inception_resnet_v2", "tf_kernels", KERAS, 80.3, 95.3, 215, hash=MD5),
)
