"""Publishers of BN-Inception."""

from keras_inception.preprocessing import NAMED
from keras_inception.weights.publishers.namemap import NameMap
from keras_inception.weights.publishers.published import torch_file

PRETRAINEDMODELS = NameMap(
    {
        r"conv1_7x7_s2": "conv1",
        r"conv2_3x3_reduce": "conv2_reduce",
        r"conv2_3x3": "conv2",
        r"(inception_(?:3[ab]|4[a-d]|5[ab])_(?:1x1|pool_proj))": r"\1",
        r"(inception_(?:3[abc]|4[a-e]|5[ab])_(?:3x3|double_3x3_[12]|(?:double_)?3x3_reduce))": r"\1",
        r"last_linear": "predictions",
    },
    {
        "_bn.weight": "_bn/gamma",
        "_bn.bias": "_bn/beta",
        "_bn.running_mean": "_bn/moving_mean",
        "_bn.running_var": "_bn/moving_variance",
        ".weight": "/kernel",
        ".bias": "/bias",
    },
    preprocessing=NAMED["caffe"].replace(mean=(104.0, 117.0, 128.0), fitting="shorter", antialias=True),
)

PUBLISHERS = {"bn_inception": {"pretrainedmodels": PRETRAINEDMODELS}}
PUBLISHED = (
    torch_file(
        "bn_inception",
        "pretrainedmodels",
        "http://data.lip6.fr/cadene/pretrainedmodels/bn_inception-52deb4733.pth",
        PRETRAINEDMODELS.preprocessing,
        73.524,
        91.562,
        licence="not stated",
        source="pretrainedmodels 0.7.4, README",
    ),
)
