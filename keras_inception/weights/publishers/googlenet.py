"""Publishers of GoogLeNet."""

from keras_inception.preprocessing import NAMED
from keras_inception.weights.publishers import published
from keras_inception.weights.publishers.namemap import CAFFE_VARIABLES, TORCH_VARIABLES, NameMap, names, slim_map

TORCHVISION, CAFFE, TF_SLIM = NAMED["torchvision"], NAMED["caffe"], NAMED["inception"]
# torchvision's network was trained with TensorFlow's input range: `transform_input` is folded in.
TRANSFORMED = NAMED["torchvision_unit"]

TORCHVISION_NAMES = names(r"""
    conv1=conv1 conv2=conv2_reduce conv3=conv2 fc=predictions
    inception(..)\.branch1=inception_\1_1x1 inception(..)\.branch4\.1=inception_\1_pool_proj
    inception(..)\.branch2\.0=inception_\1_3x3_reduce inception(..)\.branch2\.1=inception_\1_3x3
    inception(..)\.branch3\.0=inception_\1_5x5_reduce inception(..)\.branch3\.1=inception_\1_5x5
    aux1\.conv=aux_4a_conv aux1\.fc1=aux_4a_fc aux1\.fc2=aux_4a
    aux2\.conv=aux_4d_conv aux2\.fc1=aux_4d_fc aux2\.fc2=aux_4d
""")
CAFFE_NAMES = names(r"""
    conv1/7x7_s2=conv1 conv2/3x3_reduce=conv2_reduce conv2/3x3=conv2 loss3/classifier=predictions
    inception_(..)/(\w+)=inception_\1_\2
    loss1/conv=aux_4a_conv loss1/fc=aux_4a_fc loss1/classifier=aux_4a
    loss2/conv=aux_4d_conv loss2/fc=aux_4d_fc loss2/classifier=aux_4d
""")
# TF-slim's modules and ours. 5a and 5b are called Mixed_5b and Mixed_5c, because a stage's first letter is its pooling.
SLIM_MODULES = names("3b=3a 3c=3b 4b=4a 4c=4b 4d=4c 4e=4d 4f=4e 5b=5a 5c=5b")
SLIM_BRANCHES = names("""
    Branch_0/Conv2d_0a_1x1=1x1 Branch_3/Conv2d_0b_1x1=pool_proj
    Branch_1/Conv2d_0a_1x1=3x3_reduce Branch_1/Conv2d_0b_3x3=3x3
    Branch_2/Conv2d_0a_1x1=5x5_reduce Branch_2/Conv2d_0[ab]_3x3=5x5
""")  # the last is 0a in Mixed_5b
SLIM_NAMES = {
    **names("Conv2d_1a_7x7=conv1 Conv2d_2b_1x1=conv2_reduce Conv2d_2c_3x3=conv2 Logits/Conv2d_0c_1x1=predictions"),
    **{
        f"Mixed_{module}/{branch}": f"inception_{our_module}_{ours}"
        for module, our_module in SLIM_MODULES.items()
        for branch, ours in SLIM_BRANCHES.items()
    },
}

PUBLISHERS = {
    "googlenet": {
        "torchvision": NameMap(TORCHVISION_NAMES, TORCH_VARIABLES, TORCHVISION, transformed=TRANSFORMED),
        "caffe": NameMap(CAFFE_NAMES, CAFFE_VARIABLES, CAFFE),
        "tf_slim": slim_map("InceptionV1", SLIM_NAMES, TF_SLIM),
    }
}
BVLC = published.Publisher(
    "caffe",
    "http://dl.caffe.berkeleyvision.org/{file}",
    licence="unrestricted",
    source="Caffe, models/bvlc_googlenet/readme.md",
    verified=False,
)
SHA1 = "sha1:405fc5acd08a3bb12de8ee5e23a96bec22f08204"
PUBLISHED = (
    published.TORCHVISION.file("googlenet", "googlenet-1378be20.pth", TRANSFORMED, 69.778, 89.530, 49.731),
    BVLC.file("googlenet", "bvlc_googlenet.caffemodel", CAFFE, 68.7, 88.9, hash=SHA1),
    published.TF_SLIM.file("googlenet", "inception_v1_2016_08_28.tar.gz", TF_SLIM, 69.8, 89.6),
)
