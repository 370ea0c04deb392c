"""Publishers of Inception v3; nobody has published weights of v2."""

from keras_inception.preprocessing import NAMED
from keras_inception.weights.publishers.namemap import KERAS_VARIABLES, SLIM_VARIABLES, TORCH_VARIABLES, NameMap
from keras_inception.weights.publishers.published import TIMM, keras_file, slim_file, timm_file, torchvision_file

SIZE = (299, 299)
# The transforms of torchvision's weights: the shorter side to 342, then the center. Their network was trained with
# TensorFlow's range: `transform_input` is composed in.
TORCHVISION = NAMED["torchvision"].replace(size=SIZE, crop=299 / 342)
TRANSFORMED = NAMED["torchvision_unit"].replace(size=SIZE, crop=299 / 342)
KERAS = NAMED["keras"].replace(size=SIZE)
# Its weights are gluon's. timm rounds the 341.7 of 299 / 0.875 down.
GLUON = NAMED["torchvision"].replace(size=SIZE, crop=299 / 341, interpolation="bicubic")
TF_SLIM = NAMED["inception"].replace(size=SIZE)

# Our convolutions in the order in which keras.applications creates its own, which have numbers for names.
FIVE = ("1x1", "5x5_reduce", "5x5", "double_3x3_reduce", "double_3x3_1", "double_3x3_2", "pool_proj")
DOUBLE_SEVEN = ("double_7x7_reduce", "double_7x7_1", "double_7x7_2", "double_7x7_3", "double_7x7_4")
SEVEN = ("1x1", "7x7_reduce", "7x7_1", "7x7_2", *DOUBLE_SEVEN, "pool_proj")
EXPANDED = (
    *("1x1", "3x3_reduce", "3x3_1x3", "3x3_3x1"),
    *("double_3x3_reduce", "double_3x3", "double_3x3_2_1x3", "double_3x3_2_3x1", "pool_proj"),
)
PLACES = {
    "conv2d": ("1a", "2a", "2b", "3b", "4a"),
    "mixed_5b": FIVE,
    "mixed_5c": FIVE,
    "mixed_5d": FIVE,
    "mixed_6a": ("3x3", "double_3x3_reduce", "double_3x3_1", "double_3x3_2"),
    "mixed_6b": SEVEN,
    "mixed_6c": SEVEN,
    "mixed_6d": SEVEN,
    "mixed_6e": SEVEN,
    "mixed_7a": ("3x3_reduce", "3x3", "7x7_reduce", "7x7_1", "7x7_2", "7x7_3"),
    "mixed_7b": EXPANDED,
    "mixed_7c": EXPANDED,
}
CONVOLUTIONS = [f"{module}_{place}" for module, places in PLACES.items() for place in places]

# Branches of torchvision's modules; 7b and 7c fork the last convolutions of two.
TORCHVISION_BRANCHES = {
    "branch1x1": "1x1",
    "branch3x3": "3x3",
    "branch3x3_1": "3x3_reduce",
    "branch3x3_2": "3x3",
    "branch3x3_2a": "3x3_1x3",
    "branch3x3_2b": "3x3_3x1",
    "branch5x5_1": "5x5_reduce",
    "branch5x5_2": "5x5",
    "branch3x3dbl_1": "double_3x3_reduce",
    "branch3x3dbl_3a": "double_3x3_2_1x3",
    "branch3x3dbl_3b": "double_3x3_2_3x1",
    "branch7x7_1": "7x7_reduce",
    "branch7x7_2": "7x7_1",
    "branch7x7_3": "7x7_2",
    "branch7x7dbl_1": "double_7x7_reduce",
    "branch7x7dbl_2": "double_7x7_1",
    "branch7x7dbl_3": "double_7x7_2",
    "branch7x7dbl_4": "double_7x7_3",
    "branch7x7dbl_5": "double_7x7_4",
    "branch7x7x3_1": "7x7_reduce",
    "branch7x7x3_2": "7x7_1",
    "branch7x7x3_3": "7x7_2",
    "branch7x7x3_4": "7x7_3",
    "branch_pool": "pool_proj",
}

# TF-slim's branches, by module. Some names are irregular: those of 5c and 7b, and the 3×3 of 6a called 1×1.
SLIM = {
    "5[bcd]": {
        "Branch_0/Conv2d_0a_1x1": "1x1",
        "Branch_1/Conv2d_0[ab]_1x1": "5x5_reduce",
        "Branch_1/(?:Conv2d_0b|Conv_1_0c)_5x5": "5x5",
        "Branch_2/Conv2d_0a_1x1": "double_3x3_reduce",
        "Branch_2/Conv2d_0b_3x3": "double_3x3_1",
        "Branch_2/Conv2d_0c_3x3": "double_3x3_2",
        "Branch_3/Conv2d_0b_1x1": "pool_proj",
    },
    "6a": {
        "Branch_0/Conv2d_1a_1x1": "3x3",
        "Branch_1/Conv2d_0a_1x1": "double_3x3_reduce",
        "Branch_1/Conv2d_0b_3x3": "double_3x3_1",
        "Branch_1/Conv2d_1a_1x1": "double_3x3_2",
    },
    "6[bcde]": {
        "Branch_0/Conv2d_0a_1x1": "1x1",
        "Branch_1/Conv2d_0a_1x1": "7x7_reduce",
        "Branch_1/Conv2d_0b_1x7": "7x7_1",
        "Branch_1/Conv2d_0c_7x1": "7x7_2",
        "Branch_2/Conv2d_0a_1x1": "double_7x7_reduce",
        "Branch_2/Conv2d_0b_7x1": "double_7x7_1",
        "Branch_2/Conv2d_0c_1x7": "double_7x7_2",
        "Branch_2/Conv2d_0d_7x1": "double_7x7_3",
        "Branch_2/Conv2d_0e_1x7": "double_7x7_4",
        "Branch_3/Conv2d_0b_1x1": "pool_proj",
    },
    "7a": {
        "Branch_0/Conv2d_0a_1x1": "3x3_reduce",
        "Branch_0/Conv2d_1a_3x3": "3x3",
        "Branch_1/Conv2d_0a_1x1": "7x7_reduce",
        "Branch_1/Conv2d_0b_1x7": "7x7_1",
        "Branch_1/Conv2d_0c_7x1": "7x7_2",
        "Branch_1/Conv2d_1a_3x3": "7x7_3",
    },
    "7[bc]": {
        "Branch_0/Conv2d_0a_1x1": "1x1",
        "Branch_1/Conv2d_0a_1x1": "3x3_reduce",
        "Branch_1/Conv2d_0b_1x3": "3x3_1x3",
        "Branch_1/Conv2d_0[bc]_3x1": "3x3_3x1",
        "Branch_2/Conv2d_0a_1x1": "double_3x3_reduce",
        "Branch_2/Conv2d_0b_3x3": "double_3x3",
        "Branch_2/Conv2d_0c_1x3": "double_3x3_2_1x3",
        "Branch_2/Conv2d_0d_3x1": "double_3x3_2_3x1",
        "Branch_3/Conv2d_0b_1x1": "pool_proj",
    },
}

PUBLISHERS = {
    "inception_v3": {
        # timm names its tensors so too.
        "torchvision": NameMap(
            {
                r"Conv2d_(..)_\dx\d": r"conv2d_\1",
                r"Mixed_(7[bc])\.branch3x3dbl_2": r"mixed_\1_double_3x3",
                r"Mixed_(..)\.branch3x3dbl_2": r"mixed_\1_double_3x3_1",
                r"Mixed_(..)\.branch3x3dbl_3": r"mixed_\1_double_3x3_2",
                **{rf"Mixed_(..)\.{theirs}": rf"mixed_\1_{ours}" for theirs, ours in TORCHVISION_BRANCHES.items()},
                r"AuxLogits\.conv0": "aux_1x1",
                r"AuxLogits\.conv1": "aux_5x5",
                r"AuxLogits\.fc": "aux",
                r"fc": "predictions",
            },
            TORCH_VARIABLES,
            preprocessing=TORCHVISION,
            transformed=TRANSFORMED,
        ),
        "keras": NameMap(
            {
                **{f"conv2d_{number}": name for number, name in enumerate(CONVOLUTIONS)},
                **{f"batch_normalization_{number}": f"{name}_bn" for number, name in enumerate(CONVOLUTIONS)},
                "predictions": "predictions",
            },
            KERAS_VARIABLES,
            preprocessing=KERAS,
            channels_last=True,
            counted=True,
        ),
        "tf_slim": NameMap(
            {
                r"InceptionV3/Conv2d_(..)_\dx\d": r"conv2d_\1",
                **{
                    rf"InceptionV3/Mixed_({modules})/{theirs}": rf"mixed_\1_{ours}"
                    for modules, branches in SLIM.items()
                    for theirs, ours in branches.items()
                },
                r"InceptionV3/AuxLogits/Conv2d_1b_1x1": "aux_1x1",
                r"InceptionV3/AuxLogits/Conv2d_2a_5x5": "aux_5x5",
                r"InceptionV3/AuxLogits/Conv2d_2b_1x1": "aux",
                r"InceptionV3/Logits/Conv2d_1c_1x1": "predictions",
            },
            SLIM_VARIABLES,
            preprocessing=TF_SLIM,
            channels_last=True,
            background=True,
        ),
    },
}
PUBLISHED = (
    torchvision_file("inception_v3", "inception_v3_google-0cc3c7bd.pth", TRANSFORMED, 77.294, 93.450, mib=103.903),
    keras_file("inception_v3", "9a0d58056eeedaa3f26cb7ebd46da564", 92, KERAS, 77.9, 93.7),
    timm_file("inception_v3", TIMM + "v0.1-weights/gluon_inception_v3-9f746940.pth", GLUON, 78.806, 94.374),
    slim_file("inception_v3", "inception_v3_2016_08_28.tar.gz", TF_SLIM, 78.0, 93.9),
)
