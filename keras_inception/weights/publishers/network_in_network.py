"""Publishers of Network in Network: its authors' models for Caffe."""

from keras_inception.preprocessing import NAMED
from keras_inception.weights.publishers.namemap import CAFFE_VARIABLES, NameMap
from keras_inception.weights.publishers.published import Published

# nin_cifar10's last convolution has the name of one in the middle of nin_imagenet. Its images are whitened beforehand
# and fed as they are.
WHITENED = NAMED["unit"].replace(size=(32, 32), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))

PUBLISHERS = {
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
PUBLISHED = (
    Published(
        "network_in_network",
        "caffe",
        "https://www.dropbox.com/s/0cidxafrb2wuwxw/nin_imagenet.caffemodel?dl=1",
        hash="sha1:8e89c8fcd46e02780e16c867a5308e7bb7af0803",  # also in nin_cifar10's readme: one of the two is wrong
        mib=29,
        licence="non-commercial",
        preprocessing=PUBLISHERS["network_in_network"]["caffe"].preprocessing,
        top1=59.36,
        top5=None,
        source="the readme of Caffe's Network in Network Imagenet Model",
        verified=False,
    ),
)
