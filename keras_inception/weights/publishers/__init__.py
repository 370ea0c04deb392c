"""Name maps: from the names that publishers gave their tensors to ``layer/variable`` of our networks.

One file a family, as in `keras_inception.models`; torch, Caffe, Keras and TF-slim differ in the endings and in how
kernels lie, which `namemap` knows.
"""

from collections.abc import Iterable

from keras_inception.weights.publishers import (
    alexnet,
    bn_inception,
    googlenet,
    inception_v3,
    inception_v4,
    network_in_network,
    resnet,
    vgg,
)
from keras_inception.weights.publishers.namemap import OWN, NameMap, listed

FAMILIES = (alexnet, bn_inception, googlenet, inception_v3, inception_v4, network_in_network, resnet, vgg)

# Of each network the publishers by name; this project is the last, since its names may be those of Keras.
PUBLISHERS: dict[str, dict[str, NameMap]] = {
    network: {**publishers, "keras_inception": OWN}
    for family in FAMILIES
    for network, publishers in family.PUBLISHERS.items()
}


def publisher_of(names: Iterable[str], family: str) -> str:
    """The publisher who names tensors like most of these; ValueError if none does for half of them or more."""
    names = list(names)
    maps = {publisher: name_map.for_file(names) for publisher, name_map in PUBLISHERS[family].items()}
    known = {publisher: sum(name_map.ours(name) is not None for name in names) for publisher, name_map in maps.items()}
    publisher = max(known, key=known.__getitem__)
    if 2 * known[publisher] <= len(names):
        allowed = ", ".join(known)
        raise ValueError(
            f"tensors must have the names of {family} as of {allowed}. Received: {listed(names) or 'none'}"
        )
    return publisher
