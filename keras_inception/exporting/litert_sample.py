"""Files in the shape that Google's LiteRT sample of image classification takes, so that one can be put in its place.

The sample (https://github.com/google-ai-edge/litert-samples) looks for the labels in a file of the metadata by its name
and feeds float32 to a file of either precision: 224×224 pixels, from -1 to 1.
"""

from pathlib import Path

from keras_inception.preprocessing import Preprocessing
from keras_inception.tflite import metadata
from keras_inception.tflite.classifier import interpreter

SIZE = (224, 224)
MEAN = STD = (127.5, 127.5, 127.5)
LABELS = "labels_without_background.txt"


def sample_input(preprocessing: Preprocessing) -> Preprocessing:
    """What the input means of such a file of a network that takes what `preprocessing` yields."""
    return preprocessing.replace(size=SIZE, mean=MEAN, std=STD, channels="RGB")


def check(path: Path) -> None:
    """Read a file back: ValueError if it is not in the sample's shape."""
    opened = interpreter(path)
    (given,), (taken,) = opened.get_input_details(), opened.get_output_details()
    found = metadata.read(path) or {}
    (described,) = found["subgraph_metadata"][0]["output_tensor_metadata"]
    labels = [file["name"] for file in described.get("associated_files", ())]
    expected = {
        "input": ((1, *SIZE, 3), "float32"),
        "output": "float32",
        "normalization": (MEAN, STD),
        "labels": [LABELS],
    }
    received = {
        "input": (tuple(given["shape"].tolist()), given["dtype"].__name__),
        "output": taken["dtype"].__name__,
        "normalization": metadata.normalization_of(found),
        "labels": labels,
    }
    for what, value in expected.items():
        if received[what] != value:
            raise ValueError(f"{path.name}: the sample's {what} must be {value}. Received: {received[what]}")
