"""Names of Network in Network, as its authors' models for Caffe have them."""

from keras_inception.preprocessing import NAMED
from keras_inception.weights.publishers.namemap import CAFFE_VARIABLES, NameMap

# nin_cifar10's last convolution is called as one in the middle of nin_imagenet. Its pictures are whitened beforehand,
# and taken as they are.
WHITENED = NAMED["unit"].replace(size=(32, 32), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))

PUBLISHERS: dict[str, dict[str, NameMap]] = {
    "network_in_network": {
        "caffe_cifar10": NameMap(
            {r"(conv[123]|cccp[1-5])": r"\1", r"cccp6": "predictions_conv"},
            CAFFE_VARIABLES,
            preprocessing=WHITENED,
        ),
        "caffe": NameMap(
            {
                r"(conv[123]|cccp[1-6])": r"\1",
                r"(conv4|cccp7)-1024": r"\1",
                r"cccp8-1024": "predictions_conv",
            },
            CAFFE_VARIABLES,
            preprocessing=NAMED["caffe"],
        ),
    }
}
