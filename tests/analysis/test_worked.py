"""The worked examples, computed as the cost model computes, and the corrections of wrong claims."""

import re

import keras
import pytest
from keras import layers

from keras_inception.analysis import CORRECTIONS, WORKED, cost, multiply_adds


def example(beginning):
    (found,) = [worked for worked in WORKED if worked.what.startswith(beginning)]
    return found


@pytest.mark.parametrize(
    ("beginning", "directly", "instead"),
    [
        ("5×5 convolution of 28×28×192", 120_422_400, [2_408_448, 10_035_200]),
        ("5×5 convolution of 14×14×480", 112_896_000, [1_505_280, 3_763_200]),
        ("5×5 as two 3×3", 25, [9, 9]),
        ("3×3 as 3×1 and 1×3", 9, [3, 3]),
        ("3×3 as two 2×2", 9, [4, 4]),
        ("7×7 as 1×7 and 7×1", 49, [7, 7]),
        ("10,000 units", 10**8, [10**6, 10**6]),
        ("7×7×1024 to a vector", 51_380_224, []),
    ],
)
def test_worked_examples_are_exact(beginning, directly, instead):
    worked = example(beginning)
    assert worked.directly.macs == directly
    assert [kernel.macs for kernel in worked.instead] == instead
    assert worked.macs == sum(instead)


@pytest.mark.parametrize(
    ("beginning", "percent"), [("5×5 as two 3×3", 28), ("3×3 as 3×1", 33), ("3×3 as two 2×2", 11), ("7×7 as", 71)]
)
def test_savings_of_a_factorization(beginning, percent):
    assert round(100 * example(beginning).saving) == percent


def network(size, channels, *made):
    x = inputs = keras.Input((size, size, channels))
    for layer in made:
        x = layer(x)
    return cost(keras.Model(inputs, x))


@pytest.mark.parametrize(
    ("size", "channels", "filters", "macs"),
    [(28, 192, 32, (120_422_400, 12_443_648)), (14, 480, 48, (112_896_000, 5_268_480))],
)
def test_the_reductions_in_a_network(size, channels, filters, macs):
    direct = network(size, channels, layers.Conv2D(filters, 5, padding="same"))
    reduced = network(size, channels, layers.Conv2D(16, 1), layers.Conv2D(filters, 5, padding="same"))
    assert (direct.macs, reduced.macs) == macs


def test_a_dense_layer_on_the_last_map_and_global_pooling():
    assert network(7, 1024, layers.Flatten(), layers.Dense(1024, use_bias=False)).parameters == 51_380_224
    assert network(7, 1024, layers.GlobalAveragePooling2D()).parameters == 0


def test_twice_the_widths_are_four_times_the_multiply_adds():
    def chained(width):
        return network(14, width, layers.Conv2D(2 * width, 3, padding="same"), layers.Conv2D(width, 3, padding="same"))

    assert chained(16).macs == 4 * chained(8).macs


@pytest.mark.parametrize(
    ("said", "figures"),
    [
        ("A 5×5 convolution", {multiply_adds((28, 28), (5, 5, 192, 32))}),
        ("Inception v2", {5_299_886_272, 19_632_062_464}),  # counted in test_cost.py
        ("GoogLeNet has 12", {6_998_552}),
        ("GoogLeNet keeps", {1_582_671_872, multiply_adds((112, 112), (7, 7, 3, 64))}),
    ],
)
def test_corrections_give_counted_figures(said, figures):
    (correction,) = [each for each in CORRECTIONS if each.said.startswith(said)]
    given = {int(number.replace(",", "")) for number in re.findall(r"\d[\d,]{6,}\d", correction.counted)}
    assert given == figures


def test_googlenets_twelve_times_is_eight_point_six():
    (correction,) = [each for each in CORRECTIONS if "AlexNet" in each.said]
    assert correction.counted.startswith(f"{60e6 / 6_998_552:.1f} times")
