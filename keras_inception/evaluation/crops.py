"""Test-time augmentation as in the papers: average over crops of an image, and over networks.

| crops | squares of the image | views of a square | source |
| --- | --- | --- | --- |
| 1 | | the network's own preprocessing | |
| 10 | the center one | corners and center, mirrored | Krizhevsky et al. 2012, sections 2 and 4.1 |
| 12 | the center one | these and the whole square, mirrored | 1512.00567, Table 4, which gives the number only |
| 144 | 3 at 4 scales | as for 12 | 1409.4842, section 7 |

If a network's input is not square, the squares have the shape of the input. The papers resize the image and cut squares
out of it. Here each square is cut out at fractional pixels and then resized. The result differs only in the rounding of
the image's longer side. A very long image takes no more memory than any other.

Inception v3's paper does not describe its 12 crops. We read them as GoogLeNet's 144 restricted to one square at one
scale. Another implementation (soeaver/caffe-model, cls/evaluation_cls.py) takes the same six views and their mirror
images, but from the whole image, stretched to a square. It reports a top-1 / top-5 error of 19.60 / 4.73 % for
Inception v3; the paper reports 19.47 / 4.48 %.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from keras_inception.preprocessing import Preprocessing, box_in
from keras_inception.utils.checks import check_one_of

if TYPE_CHECKING:
    from keras_inception.datasets import Examples
    from keras_inception.evaluation.classifiers import Classifier

Views = Mapping[Preprocessing, np.ndarray]

VIEWS = 48  # views per batch; the next batch is cut while the network computes


class Scheme(NamedTuple):
    """A way to cut views out of an image.

    Attributes:
        scales: sides of the squares, relative to the network's input. If empty, the inverse of the preprocessing's
            `crop`, at most 10; if that is 1, 8/7, which is most publishers' 256 for 224.
        places: positions of the squares along the longer side: 0 is left or top, 1 is right or bottom.
        whole: whether the whole square is a view too.
    """

    scales: tuple[float, ...]
    places: tuple[float, ...]
    whole: bool


SCHEMES = {
    10: Scheme((), (0.5,), whole=False),
    12: Scheme((), (0.5,), whole=True),
    144: Scheme((8 / 7, 9 / 7, 10 / 7, 11 / 7), (0.0, 0.5, 1.0), whole=True),  # 256, 288, 320, 352 for 224
}
CROPS = (1, *SCHEMES)
CORNERS_AND_CENTER = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5))  # (down, across)


def views(picture: np.ndarray, preprocessing: Preprocessing, crops: int) -> np.ndarray:
    """Cut the views of an image over which a network's probabilities are averaged.

    A single crop is the image after `preprocessing`. Several crops use only its size, interpolation and antialiasing;
    10 and 12 crops also use its `crop`, which sets the scale.

    Args:
        picture: uint8 RGB (height, width, 3) of any size.
        preprocessing: preprocessing of the network.
        crops: 1, 10, 12 or 144.

    Returns:
        uint8 RGB (crops, *preprocessing.size, 3), not normalized. Views are ordered by scale and by square, from left
        to right or top to bottom. Each square yields the upper left, upper right, lower left, lower right, center and
        whole view. The second half holds the mirror images of the first.
    """
    from PIL import Image

    check_one_of("crops", crops, CROPS)
    if crops == 1:
        return preprocessing.fit(picture)[None]
    scheme, size = SCHEMES[crops], preprocessing.size
    image = Image.fromarray(picture)
    own = 8 / 7 if preprocessing.crop == 1 else 1 / max(preprocessing.crop, 0.1)
    upright = []
    for scale in scheme.scales or (own,):
        sides = round(size[0] * scale), round(size[1] * scale)
        for place in scheme.places:
            square = preprocessing.resize(image, sides, box_in(image, sides, place=place))
            upright += [_cut(square, size, *where) for where in CORNERS_AND_CENTER]
            upright += [preprocessing.resize(square, size)] if scheme.whole else []
    stacked = np.stack(upright)
    return np.concatenate([stacked, stacked[:, :, ::-1]])


def view_batches(
    examples: "Examples", preprocessings: Sequence[Preprocessing], crops: int = 1
) -> Iterator[tuple[Views, np.ndarray]]:
    """Yield batches for `metrics.evaluate_batches` and `averaged`, read and cut by threads while the network computes.

    Args:
        examples: the images.
        preprocessings: preprocessing of each network; networks with the same preprocessing share their views.
        crops: 1, 10, 12 or 144.

    Yields:
        The views of some images for each preprocessing, uint8 (images, crops, height, width, 3), and their labels,
        (images,).
    """
    check_one_of("crops", crops, CROPS)
    different = tuple(dict.fromkeys(preprocessings))
    count, step = len(examples), max(1, VIEWS // crops)

    def cut(index: int) -> list[np.ndarray]:
        picture = examples.read(index)
        return [views(picture, preprocessing, crops) for preprocessing in different]

    with ThreadPoolExecutor() as pool:

        def cut_from(start: int) -> list[Future[list[np.ndarray]]]:
            return [pool.submit(cut, index) for index in range(start, min(start + step, count))]

        ahead = cut_from(0)
        for start in range(0, count, step):
            pictures = [future.result() for future in ahead]
            ahead = cut_from(start + step)
            batch = {key: np.stack(each) for key, each in zip(different, zip(*pictures, strict=True), strict=True)}
            yield batch, np.asarray(examples.labels[start : start + step])


def averaged(classifiers: Sequence["Classifier"]) -> Callable[[Views], np.ndarray]:
    """Return a function from views to probabilities, (images, classes), averaged over crops and then over networks."""

    def over_crops(classifier: "Classifier", batch: np.ndarray) -> np.ndarray:
        every = batch.reshape(-1, *batch.shape[2:])
        parts = [classifier.predict(every[start : start + VIEWS]) for start in range(0, len(every), VIEWS)]
        return np.concatenate(parts).reshape(*batch.shape[:2], -1).mean(axis=1, dtype=np.float64)

    def predict(batches: Views) -> np.ndarray:
        return np.mean([over_crops(each, batches[each.preprocessing]) for each in classifiers], axis=0)

    return predict


def check_class_names(names: Sequence[str], classes: Sequence[Sequence[str]]) -> None:
    """Raise ValueError, naming the differences, unless all networks have the same classes in the same order.

    Args:
        names: name of each network in the message.
        classes: class names of each network.
    """
    first, expected = names[0], classes[0]
    for name, class_names in zip(names, classes, strict=True):
        if tuple(class_names) != tuple(expected):
            missing, extra = _missing(expected, class_names), _missing(class_names, expected)
            told = [f"which lacks {missing}"] * bool(missing) + [f"which alone has {extra}"] * bool(extra)
            raise ValueError(
                f"networks can be averaged only if they have the same classes in the same order as {first}. "
                f"Received: {name}, {' and '.join(told) or 'which has them in another order'}"
            )


def _cut(square: np.ndarray, size: tuple[int, int], down: float, across: float) -> np.ndarray:
    upper, left = round(down * (square.shape[0] - size[0])), round(across * (square.shape[1] - size[1]))
    return square[upper : upper + size[0], left : left + size[1]]


def _missing(class_names: Sequence[str], others: Sequence[str]) -> str:
    """Return the first few class names that are not among the others, as text."""
    known = set(others)
    missing = [name for name in class_names if name not in known]
    return ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
