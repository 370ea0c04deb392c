"""Publishers of GoogLeNet."""

from keras_inception.preprocessing import NAMED
from keras_inception.weights.publishers.namemap import CAFFE_VARIABLES, SLIM_VARIABLES, TORCH_VARIABLES, NameMap
from keras_inception.weights.publishers.published import Published, slim_file, torchvision_file

# torchvision's was trained with TensorFlow's range: `transform_input` is composed in.
TRANSFORMED = NAMED["torchvision_unit"]

PUBLISHERS = {
    "googlenet": {
        "torchvision": NameMap(
            {
                r"conv1": "conv1",
                r"conv2": "conv2_reduce",
                r"conv3": "conv2",
                r"inception(..)\.branch1": r"inception_\1_1x1",
                r"inception(..)\.branch2\.0": r"inception_\1_3x3_reduce",
                r"inception(..)\.branch2\.1": r"inception_\1_3x3",
                r"inception(..)\.branch3\.0": r"inception_\1_5x5_reduce",
                r"inception(..)\.branch3\.1": r"inception_\1_5x5",
                r"inception(..)\.branch4\.1": r"inception_\1_pool_proj",
                r"aux1\.conv": "aux_4a_conv",
                r"aux1\.fc1": "aux_4a_fc",
                r"aux1\.fc2": "aux_4a",
                r"aux2\.conv": "aux_4d_conv",
                r"aux2\.fc1": "aux_4d_fc",
                r"aux2\.fc2": "aux_4d",
                r"fc": "predictions",
            },
            TORCH_VARIABLES,
            preprocessing=NAMED["torchvision"],
            transformed=TRANSFORMED,
        ),
        "caffe": NameMap(
            {
                r"conv1/7x7_s2": "conv1",
                r"conv2/3x3_reduce": "conv2_reduce",
                r"conv2/3x3": "conv2",
                r"inception_(..)/(\w+)": r"inception_\1_\2",
                r"loss1/conv": "aux_4a_conv",
                r"loss1/fc": "aux_4a_fc",
                r"loss1/classifier": "aux_4a",
                r"loss2/conv": "aux_4d_conv",
                r"loss2/fc": "aux_4d_fc",
                r"loss2/classifier": "aux_4d",
                r"loss3/classifier": "predictions",
            },
            CAFFE_VARIABLES,
            preprocessing=NAMED["caffe"],
        ),
        # Modules 5a and 5b are called Mixed_5b and Mixed_5c: a stage's first letter is its pooling's.
        "tf_slim": NameMap(
            {
                r"InceptionV1/Conv2d_1a_7x7": "conv1",
                r"InceptionV1/Conv2d_2b_1x1": "conv2_reduce",
                r"InceptionV1/Conv2d_2c_3x3": "conv2",
                **{
                    rf"InceptionV1/Mixed_{theirs}/{pattern}": f"inception_{ours}_{layer}"
                    for theirs, ours in zip(
                        ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c"),
                        ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"),
                        strict=True,
                    )
                    for pattern, layer in {
                        r"Branch_0/Conv2d_0a_1x1": "1x1",
                        r"Branch_1/Conv2d_0a_1x1": "3x3_reduce",
                        r"Branch_1/Conv2d_0b_3x3": "3x3",
                        r"Branch_2/Conv2d_0a_1x1": "5x5_reduce",
                        r"Branch_2/Conv2d_0[ab]_3x3": "5x5",  # 0a in Mixed_5b
                        r"Branch_3/Conv2d_0b_1x1": "pool_proj",
                    }.items()
                },
                r"InceptionV1/Logits/Conv2d_0c_1x1": "predictions",
            },
            SLIM_VARIABLES,
            preprocessing=NAMED["inception"],
            channels_last=True,
            background=True,
        ),
    }
}
PUBLISHED = (
    torchvision_file("googlenet", "googlenet-1378be20.pth", TRANSFORMED, 69.778, 89.530, mib=49.731),
    Published(
        "googlenet",
        "caffe",
        "http://dl.caffe.berkeleyvision.org/bvlc_googlenet.caffemodel",
        hash="sha1:405fc5acd08a3bb12de8ee5e23a96bec22f08204",
        mib=None,
        licence="unrestricted",
        preprocessing=PUBLISHERS["googlenet"]["caffe"].preprocessing,
        top1=68.7,
        top5=88.9,
        source="Caffe, models/bvlc_googlenet/readme.md",
        verified=False,
    ),
    slim_file(
        "googlenet",
        "inception_v1_2016_08_28.tar.gz",
        PUBLISHERS["googlenet"]["tf_slim"].preprocessing,
        top1=69.8,
        top5=89.6,
    ),
)
