"""Publishers of Network in Network: its authors' models for Caffe."""

from keras_inception.preprocessing import NAMED
from keras_inception.weights.publishers import published
from keras_inception.weights.publishers.namemap import CAFFE_VARIABLES, NameMap, names

# nin_cifar10's last convolution has the name of an inner one of nin_imagenet. Its images are whitened beforehand and
# not normalized further.
WHITENED = NAMED["unit"].replace(size=(32, 32), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
CIFAR10_NAMES = names(r"(conv[123]|cccp[1-5])=\1 cccp6=predictions_conv")
IMAGENET_NAMES = names(r"(conv[123]|cccp[1-6])=\1 (conv4|cccp7)-1024=\1 cccp8-1024=predictions_conv")

PUBLISHERS = {
    "network_in_network": {
        "caffe_cifar10": NameMap(CIFAR10_NAMES, CAFFE_VARIABLES, WHITENED),
        "caffe": NameMap(IMAGENET_NAMES, CAFFE_VARIABLES, NAMED["caffe"]),
    }
}
AUTHORS = published.Publisher(
    "caffe",
    "https://www.dropbox.com/s/0cidxafrb2wuwxw/{file}?dl=1",
    licence="non-commercial",
    source="the readme of Caffe's Network in Network Imagenet Model",
    verified=False,
)
SHA1 = "sha1:8e89c8fcd46e02780e16c867a5308e7bb7af0803"  # also in nin_cifar10's readme: one of the two is wrong
PUBLISHED = (AUTHORS.file("network_in_network", "nin_imagenet.caffemodel", NAMED["caffe"], 59.36, None, 29, hash=SHA1),)
