"""Publishers of Inception v3; nobody has published weights of v2."""

from collections.abc import Iterator

from keras_inception.preprocessing import NAMED
from keras_inception.weights.publishers import published
from keras_inception.weights.publishers.namemap import TORCH_VARIABLES, NameMap, keras_map, names, slim_map

SIZE = (299, 299)
# torchvision's transforms: resize the shorter side to 342, then crop the center. Its network was trained with
# TensorFlow's input range: `transform_input` is folded in.
TORCHVISION = NAMED["torchvision"].replace(size=SIZE, crop=299 / 342)
TRANSFORMED = NAMED["torchvision_unit"].replace(size=SIZE, crop=299 / 342)
KERAS = NAMED["keras"].replace(size=SIZE)
# timm's weights are gluon's. timm rounds 299 / 0.875 = 341.7 down.
GLUON = NAMED["torchvision"].replace(size=SIZE, crop=299 / 341, interpolation="bicubic")
TF_SLIM = NAMED["inception"].replace(size=SIZE)

# Convolutions of the modules, in the order in which keras.applications creates them: our name, torchvision's and
# TF-slim's. Some of TF-slim's names are irregular: those of 5c and 7b, and the 3×3 of 6a called 1×1.
MODULES = {
    "5b 5c 5d": """
        1x1                branch1x1       Branch_0/Conv2d_0a_1x1
        5x5_reduce         branch5x5_1     Branch_1/Conv2d_0[ab]_1x1
        5x5                branch5x5_2     Branch_1/(?:Conv2d_0b|Conv_1_0c)_5x5
        double_3x3_reduce  branch3x3dbl_1  Branch_2/Conv2d_0a_1x1
        double_3x3_1       branch3x3dbl_2  Branch_2/Conv2d_0b_3x3
        double_3x3_2       branch3x3dbl_3  Branch_2/Conv2d_0c_3x3
        pool_proj          branch_pool     Branch_3/Conv2d_0b_1x1
    """,
    "6a": """
        3x3                branch3x3       Branch_0/Conv2d_1a_1x1
        double_3x3_reduce  branch3x3dbl_1  Branch_1/Conv2d_0a_1x1
        double_3x3_1       branch3x3dbl_2  Branch_1/Conv2d_0b_3x3
        double_3x3_2       branch3x3dbl_3  Branch_1/Conv2d_1a_1x1
    """,
    "6b 6c 6d 6e": """
        1x1                branch1x1       Branch_0/Conv2d_0a_1x1
        7x7_reduce         branch7x7_1     Branch_1/Conv2d_0a_1x1
        7x7_1              branch7x7_2     Branch_1/Conv2d_0b_1x7
        7x7_2              branch7x7_3     Branch_1/Conv2d_0c_7x1
        double_7x7_reduce  branch7x7dbl_1  Branch_2/Conv2d_0a_1x1
        double_7x7_1       branch7x7dbl_2  Branch_2/Conv2d_0b_7x1
        double_7x7_2       branch7x7dbl_3  Branch_2/Conv2d_0c_1x7
        double_7x7_3       branch7x7dbl_4  Branch_2/Conv2d_0d_7x1
        double_7x7_4       branch7x7dbl_5  Branch_2/Conv2d_0e_1x7
        pool_proj          branch_pool     Branch_3/Conv2d_0b_1x1
    """,
    "7a": """
        3x3_reduce         branch3x3_1     Branch_0/Conv2d_0a_1x1
        3x3                branch3x3_2     Branch_0/Conv2d_1a_3x3
        7x7_reduce         branch7x7x3_1   Branch_1/Conv2d_0a_1x1
        7x7_1              branch7x7x3_2   Branch_1/Conv2d_0b_1x7
        7x7_2              branch7x7x3_3   Branch_1/Conv2d_0c_7x1
        7x7_3              branch7x7x3_4   Branch_1/Conv2d_1a_3x3
    """,
    "7b 7c": """
        1x1                branch1x1       Branch_0/Conv2d_0a_1x1
        3x3_reduce         branch3x3_1     Branch_1/Conv2d_0a_1x1
        3x3_1x3            branch3x3_2a    Branch_1/Conv2d_0b_1x3
        3x3_3x1            branch3x3_2b    Branch_1/Conv2d_0[bc]_3x1
        double_3x3_reduce  branch3x3dbl_1  Branch_2/Conv2d_0a_1x1
        double_3x3         branch3x3dbl_2  Branch_2/Conv2d_0b_3x3
        double_3x3_2_1x3   branch3x3dbl_3a Branch_2/Conv2d_0c_1x3
        double_3x3_2_3x1   branch3x3dbl_3b Branch_2/Conv2d_0d_3x1
        pool_proj          branch_pool     Branch_3/Conv2d_0b_1x1
    """,
}


def _rows() -> Iterator[tuple[str, str, str]]:
    """Yield the names of the modules' convolutions: ours, torchvision's and TF-slim's."""
    for modules, table in MODULES.items():
        for module in modules.split():
            for row in table.strip().splitlines():
                ours, torchvision, slim = row.split()
                yield f"mixed_{module}_{ours}", rf"Mixed_{module}\.{torchvision}", f"Mixed_{module}/{slim}"


ROWS = tuple(_rows())
CONVOLUTIONS = [*(f"conv2d_{place}" for place in ("1a", "2a", "2b", "3b", "4a")), *(ours for ours, _, _ in ROWS)]
TORCHVISION_NAMES = {
    **names(r"Conv2d_(..)_\dx\d=conv2d_\1 AuxLogits\.conv0=aux_1x1 AuxLogits\.conv1=aux_5x5 AuxLogits\.fc=aux"),
    **{torchvision: ours for ours, torchvision, _ in ROWS},
    "fc": "predictions",
}
SLIM_NAMES = {
    **names(r"Conv2d_(..)_\dx\d=conv2d_\1 Logits/Conv2d_1c_1x1=predictions"),
    **names("AuxLogits/Conv2d_1b_1x1=aux_1x1 AuxLogits/Conv2d_2a_5x5=aux_5x5 AuxLogits/Conv2d_2b_1x1=aux"),
    **{slim: ours for ours, _, slim in ROWS},
}

PUBLISHERS = {
    "inception_v3": {
        # timm uses the same tensor names.
        "torchvision": NameMap(TORCHVISION_NAMES, TORCH_VARIABLES, TORCHVISION, transformed=TRANSFORMED),
        "keras": keras_map({"predictions": "predictions"}, KERAS, CONVOLUTIONS),
        "tf_slim": slim_map("InceptionV3", SLIM_NAMES, TF_SLIM),
    },
}
MD5 = "md5:9a0d58056eeedaa3f26cb7ebd46da564"
PUBLISHED = (
    published.TORCHVISION.file(
        "inception_v3", "inception_v3_google-0cc3c7bd.pth", TRANSFORMED, 77.294, 93.450, 103.903
    ),
    published.KERAS.file("inception_v3", "tf_kernels", KERAS, 77.9, 93.7, 92, hash=MD5),
    published.TIMM.file("inception_v3", "v0.1-weights/gluon_inception_v3-9f746940.pth", GLUON, 78.806, 94.374),
    published.TF_SLIM.file("inception_v3", "inception_v3_2016_08_28.tar.gz", TF_SLIM, 78.0, 93.9),
)
