"""Publishers of BN-Inception."""

from keras_inception.preprocessing import NAMED
from keras_inception.weights.publishers import published
from keras_inception.weights.publishers.namemap import NameMap, names

PREPROCESSING = NAMED["caffe"].replace(mean=(104.0, 117.0, 128.0), fitting="shorter", antialias=True)
NAMES = names(r"""
    conv1_7x7_s2=conv1 conv2_3x3_reduce=conv2_reduce conv2_3x3=conv2 last_linear=predictions
    (inception_(?:3[ab]|4[a-d]|5[ab])_(?:1x1|pool_proj))=\1
    (inception_(?:3[abc]|4[a-e]|5[ab])_(?:3x3|double_3x3_[12]|(?:double_)?3x3_reduce))=\1
""")
VARIABLES = names("""
    _bn.weight=_bn/gamma _bn.bias=_bn/beta _bn.running_mean=_bn/moving_mean _bn.running_var=_bn/moving_variance
    .weight=/kernel .bias=/bias
""")

PUBLISHERS = {"bn_inception": {"pretrainedmodels": NameMap(NAMES, VARIABLES, PREPROCESSING)}}
PUBLISHED = (
    published.PRETRAINEDMODELS.file("bn_inception", "bn_inception-52deb4733.pth", PREPROCESSING, 73.524, 91.562),
)
