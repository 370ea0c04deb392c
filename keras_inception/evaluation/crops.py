"""What the papers average over when they test: crops of a picture, and networks.

| crops | squares of the picture | views of a square | source |
| --- | --- | --- | --- |
| 1 | | the network's own preprocessing | |
| 10 | the middle one | corners and centre, mirrored | Krizhevsky et al. 2012, sections 2 and 4.1 |
| 12 | the middle one | these, and the whole square, mirrored | 1512.00567, Table 4: the number alone |
| 144 | 3 at 4 scales | as of 12 | 1409.4842, section 7 |

For a network whose input is not square, a square is of the input's shape. The papers resize the picture and cut squares
out of it; here the square is cut, in fractions of pixels, and then resized, which is the same but for the rounding of
the picture's longer side, and takes no more memory for a picture like a ribbon.

That Inception v3's 12 crops are what GoogLeNet's 144 are of one square at one scale is our reading. Others
(soeaver/caffe-model, cls/evaluation_cls.py) take the same six views and mirrors of the whole picture, stretched to a
square, and give 19.60 / 4.73 % top-1 / top-5 error for Inception v3; the paper has 19.47 / 4.48 %.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from keras_inception.preprocessing import Preprocessing, box_in

if TYPE_CHECKING:
    from keras_inception.datasets import Examples
    from keras_inception.evaluation.classifiers import Classifier

Views = Mapping[Preprocessing, np.ndarray]

VIEWS = 48  # that a network is asked about at a time, and that are cut ahead of it, but for a picture's last ones


class Scheme(NamedTuple):
    """How views are cut out of a picture.

    Attributes:
        scales: sides of the squares for a network of side 1; none is that of which the network's own crop is the
            middle, at most 10, or, where its crop is everything, 8/7: the 256 for 224 of most publishers.
        places: of the squares, along the side that they leave free: 0 is left or top, 1 right or bottom.
        whole: whether the square as a whole is a view too.
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
CORNERS_AND_CENTRE = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5))  # down and across


def check(crops: int) -> None:
    """ValueError if `crops` is not one of `CROPS`."""
    if crops not in CROPS:
        raise ValueError(f"`crops` must be one of {', '.join(map(str, CROPS))}. Received: crops={crops!r}")


def views(picture: np.ndarray, preprocessing: Preprocessing, crops: int) -> np.ndarray:
    """The views of a picture that a network's answers are averaged over.

    Of more than one crop the size, the interpolation and the antialiasing are the preprocessing's, and the share that
    it crops sets the scale of 10 and 12; how it fits a picture is for a single crop alone.

    Args:
        picture: uint8 RGB (height, width, 3) of any size.
        preprocessing: the network's.
        crops: 1, 10, 12 or 144.

    Returns:
        uint8 RGB (crops, *preprocessing.size, 3), not normalised: scale by scale, from left to right or top to bottom,
        of each square the upper left, upper right, lower left, lower right, centre, whole; then all of them mirrored.
    """
    from PIL import Image

    check(crops)
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
            upright += [_cut(square, size, *where) for where in CORNERS_AND_CENTRE]
            upright += [preprocessing.resize(square, size)] if scheme.whole else []
    stacked = np.stack(upright)
    return np.concatenate([stacked, stacked[:, :, ::-1]])


def view_batches(
    examples: "Examples", preprocessings: Sequence[Preprocessing], crops: int = 1
) -> Iterator[tuple[Views, np.ndarray]]:
    """Batches for `evaluation.evaluate` and `averaged`, read and cut by threads while the network works.

    Yields:
        The views of some pictures, as (pictures, crops, height, width, 3), uint8, for each preprocessing; and the
        classes of the pictures, (pictures,).
    """
    check(crops)
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
    """Function from views to probabilities, (pictures, classes): their mean over the crops, then over the networks."""

    def over_crops(classifier: "Classifier", batch: np.ndarray) -> np.ndarray:
        every = batch.reshape(-1, *batch.shape[2:])
        parts = [classifier.predict(every[start : start + VIEWS]) for start in range(0, len(every), VIEWS)]
        return np.concatenate(parts).reshape(*batch.shape[:2], -1).mean(axis=1, dtype=np.float64)

    def predict(batches: Views) -> np.ndarray:
        return np.mean([over_crops(each, batches[each.preprocessing]) for each in classifiers], axis=0)

    return predict


def check_labels(names: Sequence[str], labels_of_each: Sequence[Sequence[str]]) -> None:
    """ValueError, with what is different, if networks that are to be averaged do not have the same labels."""
    first, expected = names[0], labels_of_each[0]
    for name, labels in zip(names, labels_of_each, strict=True):
        if tuple(labels) == tuple(expected):
            continue
        differences = {"which lacks": _those_of(expected, labels), "which alone has": _those_of(labels, expected)}
        told = [f"{words} {some}" for words, some in differences.items() if some]
        raise ValueError(
            f"networks can be averaged if they have the same labels in the same order as {first}. "
            f"Received: {name}, {' and '.join(told) or 'which has them in another order'}"
        )


def _cut(square: np.ndarray, size: tuple[int, int], down: float, across: float) -> np.ndarray:
    upper, left = round(down * (square.shape[0] - size[0])), round(across * (square.shape[1] - size[1]))
    return square[upper : upper + size[0], left : left + size[1]]


def _those_of(labels: Sequence[str], others: Sequence[str]) -> str:
    """The first few labels that are not among the others."""
    known = set(others)
    missing = [label for label in labels if label not in known]
    return ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
