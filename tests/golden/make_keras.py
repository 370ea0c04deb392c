"""Run Inception-ResNet v2 of keras.applications; see README_PEERS.md. Needs Keras and a backend."""

import keras
import numpy as np
from making import drawn, keras_params, picture, write

SIZES = [(299, 299), (160, 192)]
PREPROCESS = {"order": "RGB", "scale": 2.0, "mean": [1.0] * 3, "std": [1.0] * 3}
params = []


def outputs(dtype):
    keras.config.set_floatx(dtype)
    logits = {}
    for size in SIZES:
        keras.utils.clear_session()  # layer names start over
        model = keras.applications.InceptionResNetV2(weights=None, input_shape=(*size, 3), classifier_activation=None)
        params[:] = keras_params(model)
        model.set_weights(list(drawn(params).values()))
        logits[size] = np.asarray(model(picture(*size, PREPROCESS), training=False), np.float64)[0]
    return logits


logits = {dtype: outputs(dtype) for dtype in ("float32", "float64")}
write(
    "keras_inception_resnet_v2",
    package="keras",
    version=f"{keras.__version__}, {keras.backend.backend()} backend",
    model="keras.applications.InceptionResNetV2(weights=None, classifier_activation=None)",
    params=params,
    preprocess=PREPROCESS,
    logits=logits,
)
