"""Labels that are probably wrong, found by confident learning (Northcutt et al. 2021, 1911.00068)."""

import numpy as np


def find_label_errors(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the indices of images whose labels are probably wrong, the most suspicious first.

    This is confident learning with pruning by noise rate (1911.00068, section 3.2, method 4). The confident joint
    estimates how many images labeled i belong to class j. So many of them are suspicious: those for which the
    probability of j exceeds that of i the most, unless the network predicts i all the same. Images are ranked by
    normalized margin, the probability of the label minus the highest of another class.

    The network must not have been trained on these images: it may have learned their labels by heart.

    Args:
        probabilities: (n, classes), in [0, 1].
        labels: class index of each image, (n,).
    """
    probabilities, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    of_label = probabilities[np.arange(len(labels)), labels]
    suspicious = np.zeros(len(labels), bool)
    for label, counts in zip(*_confident_joint(probabilities, labels), strict=True):
        members = np.flatnonzero(labels == label)
        for other in np.flatnonzero(counts):
            margin = of_label[members] - probabilities[members, other]
            suspicious[members[np.argsort(margin, kind="stable")[: counts[other]]]] = True
    highest = probabilities.max(axis=1, initial=0)
    found = np.flatnonzero(suspicious & (of_label < highest))
    return found[np.argsort((of_label - highest)[found], kind="stable")]


def _confident_joint(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels that occur, and how many images of each probably belong to each other class.

    A class is plausible for an image if its probability reaches the mean probability of that class over the images
    labeled with it, which makes up for over- and underconfidence (equation 2). An image counts for its most probable
    plausible class (equation 1). Counts are scaled to the number of images of each label (equation 3).
    """
    occurring = np.unique(labels)
    thresholds = np.full(probabilities.shape[1], np.inf)  # without images, a class is never plausible
    for label in occurring:
        thresholds[label] = probabilities[labels == label, label].mean()
    # Rounding may put the mean of equal values above each of them.
    plausible = np.where(probabilities >= thresholds - 1e-9, probabilities, -1)
    likeliest = plausible.argmax(axis=1)
    counted = plausible.max(axis=1, initial=-1) >= 0
    counts = np.zeros((len(occurring), len(thresholds)))
    np.add.at(counts, (np.searchsorted(occurring, labels[counted]), likeliest[counted]), 1)
    images = np.array([(labels == label).sum() for label in occurring])
    counts *= (images / np.maximum(counts.sum(axis=1), 1))[:, None] if len(occurring) else 1
    counts[np.arange(len(occurring)), occurring] = 0
    return occurring, np.rint(counts).astype(int)
