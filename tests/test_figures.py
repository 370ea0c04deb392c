import re
from functools import partial

import keras
import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from keras_inception.analysis import cost
from keras_inception.evaluation.metrics import Evaluation
from keras_inception.figures import RIGHT, WRONG, _rounded, confusion_picture, module_picture, prediction_picture
from keras_inception.models.blocks import BatchNorm, conv, module
from keras_inception.models.googlenet import Filters, inception, inception_naive

AWKWARD = ("$5 \\frac{", "日本語", "עברית", "🐱", "a label that goes on and on and on and on", "\\")


@pytest.fixture
def drawn(monkeypatch):
    """Saved figures, in order."""
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **kw: figures.append(self) or save(self, *args, **kw))
    return figures


def texts(axes):
    return [text.get_text() for text in axes.texts]


def pixels(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def share_of(color, image):
    """Return the fraction of an image's pixels that have this color."""
    return np.isclose(image, np.multiply(to_rgb(color), 255), atol=2).all(axis=-1).mean()


def test_a_confusion_picture_shows_counts_totals_and_shares(drawn, tmp_path):
    evaluation = Evaluation(("cat", "dog", "unseen"), np.array([[3, 1, 0], [2, 4, 0], [0, 0, 0]]), top5=1.0, loss=0.5)
    confusion_picture(evaluation, tmp_path / "new" / "confusion.png")
    (axes,) = drawn[0].axes
    assert {(*text.get_position()[::-1], text.get_text()) for text in axes.texts} == {
        (0, 0, "3"), (0, 1, "1"), (1, 0, "2"), (1, 1, "4"),
    }  # fmt: skip
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["cat (4)", "dog (6)", "unseen (0)"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["cat", "dog", "unseen"]
    np.testing.assert_allclose(axes.images[0].get_array(), [[3 / 4, 1 / 4, 0], [1 / 3, 2 / 3, 0], [0, 0, 0]])
    assert drawn[0].get_suptitle() == "top-1 70.0%, top-5 100.0%\n10 images"
    assert pixels(tmp_path / "new" / "confusion.png").std() > 10


@pytest.mark.parametrize(("classes", "counted", "named"), [(1, True, True), (31, False, True), (101, False, False)])
def test_a_confusion_picture_of_any_size_is_legible(drawn, tmp_path, classes, counted, named):
    labels = tuple(f"class {i}" for i in range(classes))
    confusion_picture(Evaluation(labels, np.eye(classes, dtype=int), top5=1.0, loss=0.0), tmp_path / "confusion.png")
    (axes,) = drawn[0].axes
    assert len(axes.texts) == (classes if counted else 0)
    assert len(axes.get_xticklabels()) == (classes if named else 0)
    height, width, _ = pixels(tmp_path / "confusion.png").shape
    assert 200 < height == width < 2000


def test_predictions_are_colored_by_correctness(drawn, tmp_path):
    labels = ("cat", "dog", "bird", "fish")
    pictures = np.full((2, 32, 32, 3), 255, np.uint8)
    probabilities = np.array([[0.6, 0.3, 0.1, 0.0], [0.2, 0.5, 0.0, 0.3]])
    prediction_picture(pictures, probabilities, labels, [0, 0], tmp_path / "mixed.png")
    right, right_bars, wrong, wrong_bars = drawn[0].axes
    assert [right.get_title(), wrong.get_title()] == ["cat", "cat"]
    assert texts(right_bars) == ["cat  60%", "dog  30%", "bird  10%"]
    assert texts(wrong_bars) == ["dog  50%", "fish  30%", "cat  20%"]

    shares = {}
    for name, truth in [("right", 0), ("wrong", 3)]:
        prediction_picture(pictures[:1], probabilities[:1], labels, [truth], tmp_path / f"{name}.png")
        picture = pixels(tmp_path / f"{name}.png")
        shares[name] = share_of(RIGHT, picture), share_of(WRONG, picture)
    assert shares["right"][0] > 0.02
    assert shares["right"][1] == 0
    assert shares["wrong"][0] == 0
    assert shares["wrong"][1] > 0.02


def test_images_of_several_sizes_and_fewer_than_three_classes(drawn, tmp_path):
    pictures = [np.zeros((20, 40, 3), np.uint8), np.zeros((60, 30, 3), np.uint8)]
    prediction_picture(pictures, np.array([[0.5, 0.5], [0.1, 0.9]]), ("a", "b"), [1, 1], tmp_path / "two.png")
    assert texts(drawn[0].axes[1]) == ["a  50%", "b  50%"]
    assert pixels(tmp_path / "two.png").std() > 10


@pytest.mark.parametrize(("pictures", "probabilities", "truth"), [(0, 0, 0), (2, 1, 2), (2, 2, 1)])
def test_predictions_that_do_not_match_are_an_error(tmp_path, pictures, probabilities, truth):
    arguments = np.zeros((pictures, 8, 8, 3), np.uint8), np.ones((probabilities, 2)), ("a", "b"), [0] * truth
    with pytest.raises(ValueError, match=re.escape(f"Received: {[pictures, probabilities, truth]}")):
        prediction_picture(*arguments, tmp_path / "none.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("error")
def test_labels_in_any_script_are_drawn_without_warnings(tmp_path):
    classes = len(AWKWARD)
    confusion_picture(Evaluation(AWKWARD, np.eye(classes, dtype=int), top5=1.0, loss=0.0), tmp_path / "confusion.png")
    pictures = np.zeros((classes, 8, 8, 3), np.uint8)
    prediction_picture(pictures, np.eye(classes), AWKWARD, list(range(classes)), tmp_path / "predictions.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["confusion.png", "predictions.png"]


@pytest.fixture(scope="module")
def modules():
    """A network with one module with reductions, named as in GoogLeNet, followed by a naive module."""
    inputs = keras.Input((16, 16, 8))
    conv_block = partial(conv, batch_norm=BatchNorm())
    x = module(inputs, inception(Filters(1, 2, 3, 4, 5, 6)), conv_block=conv_block, name="inception_3a")
    x = module(x, inception_naive(Filters(7, 0, 8, 0, 9, 0), five_kernel=3), conv_block=conv, name="inception_3b")
    return keras.Model(inputs, x, name="two_modules")


def test_a_module_is_drawn_as_built(drawn, modules, tmp_path):
    module_picture(modules, "inception_3a", tmp_path / "reduced.png")
    module_picture(modules, "inception_3b", tmp_path / "naive.png")
    reduced, naive = (texts(figure.axes[0]) for figure in drawn)
    assert [text for text in reduced if text] == [
        "input\n16×16×8",
        "inception_3a\n16×16×15",
        "1×1 convolution\n1 filters",
        "1×1 convolution\n2 filters",
        "3×3 convolution\n3 filters",
        "1×1 convolution\n4 filters",
        "5×5 convolution\n5 filters",
        "3×3 max pool\nstride 1",
        "1×1 convolution\n6 filters",
    ]
    assert [text for text in naive if text] == [
        "input\n16×16×15",
        "inception_3b\n16×16×39",
        "1×1 convolution\n7 filters",
        "3×3 convolution\n8 filters",
        "3×3 convolution\n9 filters",
        "3×3 max pool\nstride 1",
    ]
    assert pixels(tmp_path / "reduced.png").std() > 10


@pytest.mark.parametrize("name", ["inception_9z", "inception_3a_1x1"])
def test_other_layers_are_refused(modules, tmp_path, name):
    with pytest.raises(ValueError, match=f"an Inception module of two_modules. Received: name='{name}'"):
        module_picture(modules, name, tmp_path / "none.png")


def test_a_cost_is_drawn_by_module(drawn, modules, tmp_path):
    counted = cost(modules)
    counted.plot(tmp_path / "cost.png")
    macs, parameters = drawn[0].axes
    assert [tick.get_text() for tick in macs.get_yticklabels()] == ["inception_3a", "inception_3b"]
    assert [bar.get_width() for bar in macs.patches] == [module.macs for module in counted.modules]
    assert [bar.get_width() for bar in parameters.patches] == [module.parameters for module in counted.modules]
    assert macs.get_title() == f"{counted.macs:,} MACs"
    assert parameters.get_title() == f"{counted.parameters:,} parameters"
    assert texts(parameters)[0] == f"{counted.modules[0].parameters:,}"
    assert drawn[0].get_suptitle() == "two_modules, input 16×16×8"
    assert pixels(tmp_path / "cost.png").std() > 10


def test_a_network_without_weights_can_be_drawn(tmp_path):
    inputs = keras.Input((8, 8, 3))
    cost(keras.Model(inputs, keras.layers.MaxPooling2D()(inputs))).plot(tmp_path / "cost.png")
    assert pixels(tmp_path / "cost.png").std() > 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (9_472, "9.47 K"),
        (118_013_952, "118 M"),
        (15_470_264_320, "15.5 G"),
        (999_600, "1000 K"),
    ],
)
def test_a_number_is_rounded_to_three_digits(value, text):
    assert _rounded(value) == text


def test_matplotlib_is_left_unchanged(tmp_path):
    before = dict(matplotlib.rcParams)
    confusion_picture(Evaluation(("a",), np.array([[1]]), top5=1.0, loss=0.0), tmp_path / "confusion.png")
    assert dict(matplotlib.rcParams) == before
    assert not pyplot.get_fignums()
