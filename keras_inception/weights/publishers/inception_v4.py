"""Publishers of Inception v4 and Inception-ResNet v2."""

import re

from keras_inception.preprocessing import NAMED
from keras_inception.weights.publishers.namemap import KERAS_VARIABLES, TORCH_VARIABLES, NameMap
from keras_inception.weights.publishers.published import TIMM, keras_file, timm_file

SIZE = (299, 299)
# timm rounds the 341.7 of 299 / 0.875 down.
V4 = NAMED["torchvision_unit"].replace(size=SIZE, crop=299 / 341, interpolation="bicubic")
RESNET_V2 = V4.replace(crop=0.8975)
KERAS = NAMED["keras"].replace(size=SIZE)


def _reduced(branch: str, name: str, convolutions: int = 1) -> dict[str, str]:
    """Return timm's names in a branch, and the names that `blocks.reduced` gives."""
    names = [name] if convolutions == 1 else [f"{name}_{i}" for i in range(1, convolutions + 1)]
    return {f"{branch}.{i}": ours for i, ours in enumerate([f"{name}_reduce", *names])}


# timm's layers and ours in each kind of module, in the order in which keras.applications creates them.
ONE = {"branch0": "1x1"}
THREES = {**_reduced("branch1", "3x3"), **_reduced("branch2", "double_3x3", 2)}
PROJECTION = {"branch3.1": "pool_proj"}
REDUCTION_A = {"branch0": "3x3", **_reduced("branch1", "double_3x3", 2)}

INCEPTION_A = {**ONE, **THREES, **PROJECTION}
INCEPTION_B = {**ONE, **_reduced("branch1", "7x7", 2), **_reduced("branch2", "double_7x7", 4), **PROJECTION}
INCEPTION_C = {
    **ONE,
    "branch1_0": "3x3_reduce",
    "branch1_1a": "3x3_1x3",
    "branch1_1b": "3x3_3x1",
    "branch2_0": "double_3x3_reduce",
    "branch2_1": "double_3x3_1",
    "branch2_2": "double_3x3_2",
    "branch2_3a": "double_3x3_3_1x3",
    "branch2_3b": "double_3x3_3_3x1",
    **PROJECTION,
}
V4_MODULES = [  # from features.3 on
    ("mixed_3a", {"conv": "3x3"}),
    ("mixed_4a", {**_reduced("branch0", "3x3"), **_reduced("branch1", "7x7", 3)}),
    ("mixed_5a", {"conv": "3x3"}),
    *((f"mixed_5{letter}", INCEPTION_A) for letter in "bcde"),
    ("mixed_6a", REDUCTION_A),
    *((f"mixed_6{letter}", INCEPTION_B) for letter in "bcdefgh"),
    ("mixed_7a", {**_reduced("branch0", "3x3"), **_reduced("branch1", "7x7", 3)}),
    *((f"mixed_7{letter}", INCEPTION_C) for letter in "bcd"),
]

BLOCK35 = [(f"repeat.{i}", f"block35_{i + 1}") for i in range(10)]
BLOCK17 = [(f"repeat_1.{i}", f"block17_{i + 1}") for i in range(20)]
BLOCK8 = [*((f"repeat_2.{i}", f"block8_{i + 1}") for i in range(9)), ("block8", "block8_10")]
RESNET_MODULES = [
    (
        "mixed_5b",
        "mixed_5b",
        {**ONE, **_reduced("branch1", "5x5"), **_reduced("branch2", "double_3x3", 2), **PROJECTION},
    ),
    *((theirs, ours, {**ONE, **THREES}) for theirs, ours in BLOCK35),
    ("mixed_6a", "mixed_6a", REDUCTION_A),
    *((theirs, ours, {**ONE, **_reduced("branch1", "7x7", 2)}) for theirs, ours in BLOCK17),
    (
        "mixed_7a",
        "mixed_7a",
        {**_reduced("branch0", "3x3_a"), **_reduced("branch1", "3x3_b"), **_reduced("branch2", "double_3x3", 2)},
    ),
    *((theirs, ours, {**ONE, **_reduced("branch1", "3x3", 2)}) for theirs, ours in BLOCK8),
]
# timm's names of all convolutions with batch norm except the last, and ours.
RESNET_CONVOLUTIONS = [
    *((f"conv2d_{name}",) * 2 for name in ("1a", "2a", "2b", "3b", "4a")),
    *((f"{theirs}.{layer}", f"{ours}_{name}") for theirs, ours, kind in RESNET_MODULES for layer, name in kind.items()),
]

# timm's first files have a "background" class, like those of TF-slim from which they were converted; later ones do not.
PUBLISHERS = {
    "inception_v4": {
        "timm": NameMap(
            {
                r"features\.0": "conv2d_1a",
                r"features\.1": "conv2d_2a",
                r"features\.2": "conv2d_2b",
                **{
                    re.escape(f"features.{i}.{layer}"): f"{stage}_{name}"
                    for i, (stage, kind) in enumerate(V4_MODULES, 3)
                    for layer, name in kind.items()
                },
                r"last_linear": "predictions",
            },
            TORCH_VARIABLES,
            preprocessing=V4,
            background=True,
        ),
    },
    "inception_resnet_v2": {
        "timm": NameMap(
            {
                **{re.escape(theirs): ours for theirs, ours in RESNET_CONVOLUTIONS},
                **{re.escape(f"{theirs}.conv2d"): f"{ours}_conv" for theirs, ours in BLOCK35 + BLOCK17 + BLOCK8},
                r"conv2d_7b": "conv2d_7b",
                r"classif": "predictions",
            },
            TORCH_VARIABLES,
            preprocessing=RESNET_V2,
            background=True,
        ),
        "keras": NameMap(
            {
                **{f"conv2d_{i}": ours for i, (_, ours) in enumerate(RESNET_CONVOLUTIONS)},
                **{f"batch_normalization_{i}": f"{ours}_bn" for i, (_, ours) in enumerate(RESNET_CONVOLUTIONS)},
                r"(block\d+_\d+_conv)": r"\1",
                r"conv_7b": "conv2d_7b",
                r"conv_7b_bn": "conv2d_7b_bn",
                r"predictions": "predictions",
            },
            KERAS_VARIABLES,
            preprocessing=KERAS,
            channels_last=True,
            counted=True,
        ),
    },
}
PUBLISHED = (
    timm_file("inception_v4", TIMM + "v0.1-cadene/inceptionv4-8e4777a0.pth", V4, 80.156, 94.968),
    timm_file("inception_resnet_v2", TIMM + "v0.1-weights/inception_resnet_v2-940b1cd6.pth", RESNET_V2, 80.462, 95.308),
    keras_file("inception_resnet_v2", "e693bd0210a403b3192acc6073ad2e96", 215, KERAS, 80.3, 95.3),
)
