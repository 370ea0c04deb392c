"""Filter pruning: dependencies between filters, their choice, and the output of pruned networks."""

import keras
import numpy as np
import pytest
from keras import layers
from networks import in_full_but, small_inception, transfer_model, with_drawn_weights

from keras_inception import analysis, registry
from keras_inception.compression import budget, filter_pruning
from keras_inception.compression.filter_pruning import DependencyGraph
from keras_inception.preprocessing import DEFAULT

NETWORKS = {
    "googlenet": {"input_shape": (64, 64, 3), "normalization": "batch_norm", "auxiliary": True},
    "inception_v3": {"input_shape": (80, 80, 3)},
    "resnet34": {"input_shape": (32, 32, 3)},
    "vgg16": {"input_shape": (32, 32, 3)},
    "network_in_network": {"input_shape": (64, 64, 3)},
}


def silenced(model, kept):
    """Return the model with its weights changed so that all filters but the kept ones output zeros."""
    for step in (graph := DependencyGraph(model)).steps:
        layer = step.operation
        if step.name in kept:
            cut = np.setdiff1d(np.arange(layer.filters), kept[step.name])
            for weight in layer.weights:
                value = weight.numpy()
                value[..., cut] = 0
                weight.assign(value)
        elif isinstance(layer, layers.BatchNormalization):
            (group,) = graph.of(step.inputs[0])
            name = next((name for name in group.convolutions if name in kept), None)
            if name:
                cut = np.setdiff1d(np.arange(group.size), kept[name])
                for weight in (layer.beta, layer.moving_mean):
                    value = weight.numpy()
                    value[cut] = 0
                    weight.assign(value)
    return model


@pytest.mark.parametrize("name", in_full_but({"network_in_network"}, NETWORKS))
def test_a_pruned_network_computes_what_its_kept_filters_did(name):
    model = with_drawn_weights(registry.create(name, classes=4, classifier_activation=None, **NETWORKS[name]))
    graph = DependencyGraph(model)
    assert graph.macs({}) == analysis.cost(model).macs
    kept = filter_pruning.choose(graph, filter_pruning.l1(model), 0.6)
    assert all(len(indices) % 8 == 0 for indices in kept.values())
    small = filter_pruning.prune(graph, kept)
    assert 0.5 < analysis.cost(small).macs / analysis.cost(model).macs <= 0.6
    assert analysis.cost(small).macs == graph.macs({name: len(indices) for name, indices in kept.items()})
    x = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:])).astype(np.float32)
    expected = silenced(model, kept)(x, training=False)
    for ours, theirs in zip(*map(keras.tree.flatten, (small(x, training=False), expected)), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


def test_filters_whose_outputs_are_added_are_pruned_together():
    graph = DependencyGraph(registry.create("resnet34", input_shape=(32, 32, 3), classes=4))
    (stage,) = [group for group in graph.groups() if "conv3_1_shortcut" in group.convolutions]
    assert sorted(stage.convolutions) == ["conv3_1_2", "conv3_1_shortcut", "conv3_2_2", "conv3_3_2", "conv3_4_2"]


def test_groups_that_cannot_be_pruned_give_a_reason():
    graph = DependencyGraph(registry.create("resnet34", input_shape=(32, 32, 3), classes=4, shortcut="A"))
    reasons = {name: group.fixed for group in graph.groups() for name in group.convolutions}
    assert reasons["conv2_1_2"] == "conv3_1_shortcut needs all of its inputs"
    assert reasons["conv3_1_2"] == "conv3_1_shortcut makes it"
    assert reasons["conv3_1_1"] is None
    nin = DependencyGraph(registry.create("network_in_network", input_shape=(64, 64, 3), classes=16))
    assert {group.fixed for group in nin.groups() if "predictions_conv" in group.convolutions} == {"it is an output"}


def test_filters_that_matter_are_kept():
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(32, 3, padding="same", activation="relu", name="first")(image)
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="second")(x)
    out = layers.Dense(4, activation="softmax", name="predictions")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, out)
    kernel, bias = model.get_layer("second").get_weights()
    dead = np.arange(0, 32, 2)
    kernel[:, :, dead] = 0  # every other filter of the first is unused
    model.get_layer("second").set_weights([kernel, bias])
    chance = np.random.default_rng(0)
    batches = [(chance.normal(size=(16, 8, 8, 3)).astype(np.float32), chance.integers(0, 4, 16))]
    graph = DependencyGraph(model)
    kept = filter_pruning.choose(graph, filter_pruning.taylor(model, batches), graph.macs({"first": 16}))
    assert not set(kept["first"]) & set(dead)
    small = filter_pruning.prune(graph, kept)
    np.testing.assert_allclose(small(batches[0][0]), model(batches[0][0]), atol=1e-6)


@pytest.mark.parametrize("layer", ["stem", "right"])  # with maps of 16×16 and 8×8
def test_taylor_estimates_the_change_of_the_loss(layer):
    model = with_drawn_weights(small_inception((32, 32, 3), 4))
    x, y = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype(np.float32), np.array([2])
    scores = filter_pruning.taylor(model, [(x, y)])[layer]
    norm = model.get_layer(f"{layer}_bn")
    scales = [norm.gamma.numpy(), norm.beta.numpy()]

    def loss():
        return float(keras.losses.sparse_categorical_crossentropy(y, model(x, training=False))[0])

    before = loss()
    for number in np.argsort(scores)[-3:]:
        for weight, scale in zip((norm.gamma, norm.beta), scales, strict=True):
            weight.assign(scale * (1 - 0.01 * (np.arange(16 if layer == "stem" else 32) == number)))
        assert abs(loss() - before) / 0.01 == pytest.approx(scores[number], rel=0.1)


@pytest.mark.parametrize(("kind", "limit"), [("mb", 0.8), ("latency", 0.8), ("mb", 3.2)])
def test_a_budget_of_the_file_is_met_by_bisection(kind, limit, monkeypatch):
    """Let size and latency be 4 MB and 4 ms times the share of the multiply-adds."""
    model = with_drawn_weights(small_inception((32, 32, 3), 4))
    graph = DependencyGraph(model)
    whole = graph.macs({})

    def convert(pruned, _, __, paths):
        with open(paths["int8"], "wb") as file:
            file.truncate(int(4e6 * analysis.cost(pruned).macs / whole))

    monkeypatch.setattr(budget, "convert_on_noise", convert)
    monkeypatch.setattr(budget, "benchmark", lambda paths: [{"median_ms": path.stat().st_size / 1e6} for path in paths])
    said = []
    scores = filter_pruning.l1(model)
    share = budget.macs_within((kind, limit), graph, scores, DEFAULT, said.append)
    kept = filter_pruning.choose(graph, scores, share)
    assert analysis.cost(filter_pruning.prune(graph, kept)).macs <= 0.8 * whole
    assert len(said) == 1 + budget.BISECTIONS
    with pytest.raises(ValueError, match=rf"it is still above the budget\. Received: {kind}=0\.001"):
        budget.macs_within((kind, 0.001), graph, scores, DEFAULT, said.append)


def test_an_impossible_budget_is_refused(tiny_model):
    with pytest.raises(
        ValueError, match=r"tiny cannot be pruned that far: with 25% of the filters .* Received: macs=0.001"
    ):
        filter_pruning.choose(DependencyGraph(tiny_model), filter_pruning.l1(tiny_model), 0.001)


def test_batch_norm_scale_needs_batch_norm():
    model = registry.create("googlenet", input_shape=(32, 32, 3), classes=2)
    with pytest.raises(ValueError, match="conv1 has none"):
        filter_pruning.batch_norm_scale(model)


def test_channels_that_are_mixed_are_not_pruned():
    """Grouped and multiplied channels, concatenated rows and operations without a rule keep all filters."""
    image = keras.Input((8, 8, 3))
    first = layers.Conv2D(16, 3, padding="same", name="first")(image)
    second = layers.Conv2D(16, 3, padding="same", name="second")(image)
    third = layers.Conv2D(16, 3, padding="same", name="third")(image)
    grouped = layers.Conv2D(16, 3, groups=2, padding="same", name="grouped")(first)
    doubled = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", name="doubled")(second)
    rows = layers.Concatenate(axis=1, name="rows")([third, third])
    means = [layers.GlobalAveragePooling2D()(x) for x in (grouped, doubled, rows)]
    model = with_drawn_weights(keras.Model(image, layers.Dense(4)(layers.Concatenate()(means))))
    graph = DependencyGraph(model)
    reasons = {name: group.fixed for group in graph.groups() for name in group.convolutions}
    assert reasons == {
        "first": "grouped needs all of its inputs",
        "second": "doubled needs all of its inputs",
        "third": "rows needs all of its inputs",
        "grouped": "grouped needs all of its inputs",
    }
    assert graph.macs({}) == analysis.cost(model).macs
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(filter_pruning.prune(graph, {})(x), model(x), atol=1e-5)


def test_mobile_networks_are_pruned():
    """The channels of depthwise convolutions and of squeeze-and-excite factors are those of the convolutions before."""
    graph = DependencyGraph(transfer_model(16, 4))
    groups = [sorted(group.convolutions) for group in graph.groups()]
    assert groups == [["project", "stem"], ["excite", "expand"], ["reduce"], ["separable"]]
    assert all(group.fixed is None for group in graph.groups())
    chosen = filter_pruning.choose(graph, filter_pruning.l1(graph.model), 0.6)
    assert set(chosen) <= {name for group in groups for name in group}
    every = {name: group.size for group in graph.groups() for name in group.convolutions}
    kept = {name: np.arange(1, size, 2) for name, size in every.items()}
    model = graph.model
    small = filter_pruning.prune(graph, kept)
    assert analysis.cost(small).macs == graph.macs({name: len(indices) for name, indices in kept.items()})
    for step in graph.steps:  # without a residual, a filter is silent if the next layer does not read it
        layer, (group, *_) = step.operation, graph.of(step.inputs[0])
        cut = np.setdiff1d(np.arange(group.size), kept.get((group.convolutions or [""])[0], np.arange(group.size)))
        if isinstance(layer, (layers.Conv2D, layers.Dense)) and len(cut):
            kernel, *bias = layer.get_weights()
            kernel[..., cut, :] = 0
            layer.set_weights([kernel, *bias])
    x = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 3)).astype(np.float32)
    np.testing.assert_allclose(small(x), model(x), atol=1e-5)


@pytest.mark.full
@pytest.mark.parametrize("name", ["MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "ResNet50V2", "DenseNet121"])
def test_applications_are_pruned(name):
    image = keras.Input((32, 32, 3))
    body = getattr(keras.applications, name)(input_shape=(32, 32, 3), weights=None, include_top=False, pooling="avg")
    graph = DependencyGraph(keras.Model(image, layers.Dense(4)(body(image, training=False))))
    kept = filter_pruning.choose(graph, filter_pruning.l1(graph.model), 0.7)
    small = filter_pruning.prune(graph, kept)
    assert analysis.cost(small).macs == graph.macs({name: len(indices) for name, indices in kept.items()})
    assert analysis.cost(small).macs <= 0.7 * analysis.cost(graph.model).macs
    assert np.isfinite(small(np.ones((1, 32, 32, 3), np.float32))).all()


def test_reshaped_factors_of_squeeze_and_excite_are_pruned():
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(32, 3, padding="same", name="first")(image)
    factors = layers.Reshape((1, 1, 32))(layers.GlobalAveragePooling2D()(x))
    factors = layers.Conv2D(32, 1, activation="sigmoid", name="factors")(factors)
    x = layers.GlobalAveragePooling2D()(keras.ops.multiply(x, factors))
    graph = DependencyGraph(keras.Model(image, layers.Dense(4)(x)))
    kept = np.arange(0, 32, 2)
    small = filter_pruning.prune(graph, {"first": kept, "factors": kept})
    assert small(np.ones((1, 8, 8, 3))).shape == (1, 4)
    assert [layer.target_shape for layer in small.layers if isinstance(layer, layers.Reshape)] == [(1, 1, 16)]


def test_convolutions_that_are_called_twice_keep_all_filters():
    image = keras.Input((8, 8, 16))
    before = layers.Conv2D(16, 1, name="before")(image)
    shared = layers.Conv2D(16, 3, padding="same", name="shared")
    x = layers.GlobalAveragePooling2D()(shared(shared(before)))
    graph = DependencyGraph(keras.Model(image, layers.Dense(4)(x), name="twice"))
    assert {group.fixed for group in graph.groups()} == {"shared is called more than once"}
    with pytest.raises(ValueError, match=r"no filters of twice can be pruned: before: shared is called more than once"):
        filter_pruning.choose(graph, {}, 0.5)


def test_channels_that_are_scaled_one_by_one_are_not_pruned():
    image = keras.Input((8, 8, 3))
    first = layers.Conv2D(16, 3, padding="same", name="first")(image) * np.arange(16, dtype=np.float32)
    second = layers.Rescaling(list(range(16)), name="scaled")(
        layers.Conv2D(16, 3, padding="same", name="second")(image)
    )
    third = (layers.Conv2D(16, 3, padding="same", name="third")(image) + 3.0) / 6.0
    means = [layers.GlobalAveragePooling2D()(x) for x in (first, second, third)]
    graph = DependencyGraph(keras.Model(image, layers.Dense(4)(layers.Concatenate()(means))))
    reasons = {name: group.fixed for group in graph.groups() for name in group.convolutions}
    assert reasons["first"].endswith("needs all of its inputs")
    assert reasons["second"] == "scaled needs all of its inputs"
    assert reasons["third"] is None
