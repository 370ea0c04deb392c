"""`compress`: the result of each step, resuming after an interruption, and refused jobs."""

import csv
import json

import keras
import numpy as np
import pytest

import keras_inception
from keras_inception import analysis, registry
from keras_inception.compression import budget
from keras_inception.compression import compress as compression
from keras_inception.compression.compress import CompressionReport, compress, recipe_of
from keras_inception.compression.job import Job
from keras_inception.datasets import Augmentation, evaluation_batches, open_data
from keras_inception.evaluation import metrics as evaluation
from keras_inception.layers import FakeQuantization
from keras_inception.runs import Run
from keras_inception.tflite.classifier import TFLiteClassifier
from keras_inception.tflite.operations import sparsity
from keras_inception.training import Recipe, callbacks, train

RECIPE = Recipe(
    size=32,
    crop=1.0,
    epochs=8,
    batch_size=8,
    learning_rate=1e-2,
    warmup_epochs=1.0,
    ema=0.5,
    augmentation=Augmentation(area=(0.5, 1.0)),
    precision="float32",
    seed=7,
)
EPOCHS = {"epochs": "2"}


@pytest.fixture(scope="module", autouse=True)
def small_network():
    """Register ``small_inception`` as a network of that name."""
    registry.NETWORKS["small_inception"] = registry.Network("networks:small_inception", 32, 0, 0, ("aux",))
    yield
    del registry.NETWORKS["small_inception"]


@pytest.fixture(scope="module")
def run(pictures, tmp_path_factory) -> Run:
    return train(
        pictures,
        tmp_path_factory.mktemp("compression") / "run",
        recipe=RECIPE.replace(network="small_inception"),
        verbose=0,
    )


@pytest.fixture(scope="module")
def compressed(run, tmp_path_factory) -> tuple[Run, CompressionReport]:
    """Return a run whose filters and weights are pruned and that is trained for int8, and its report."""
    output = tmp_path_factory.mktemp("compressed") / "run"
    report = compress(run.path, output, macs=0.6, prune=0.5, quantize=True, settings={"epochs": "1"}, verbose=0)
    return Run(output), report


@pytest.fixture(scope="module")
def two_of_four(run, tmp_path_factory) -> tuple[Run, CompressionReport]:
    output = tmp_path_factory.mktemp("two_of_four") / "run"
    rows = compress(run.path, output, Job(prune="2:4"), settings=EPOCHS, verbose=0)
    return Run(output), rows


def test_each_step_reports_its_costs(compressed):
    _, report = compressed
    assert [step.step for step in report] == ["source", "slim", "prune", "quantize"]
    source, filters, prune, quantize = report
    assert 0.4 * source["macs"] < filters["macs"] <= 0.6 * source["macs"]
    assert filters["macs"] == prune["macs"] == quantize["macs"]
    assert source["sparsity"] < 0.2
    for row in (prune, quantize):
        assert 0.45 < row["sparsity"] < 0.7
        assert row["gzip_mb"] < filters["gzip_mb"]
    for row in report:
        assert row["outside_delegate"] == ["QUANTIZE", "SOFTMAX", "QUANTIZE"]
        assert row["latency_ms"] > 0
        assert row["top1"] >= 0.5, "of three classes"
    assert source["ratio"] == 1


def test_the_report_is_read_by_attributes_and_keys_and_printed_as_a_table(compressed):
    run, report = compressed
    rows = json.loads((run.path / "compression_report.json").read_text())
    assert list(report) == rows
    assert report.to_dict() == rows
    assert {**report[0]} == rows[0]
    assert report[-1].macs == report[-1]["macs"] == rows[-1]["macs"]
    header, _, *lines = str(report).strip().splitlines()  # a rule follows the header
    assert header.split()[:3] == ["step", "MACs", "parameters"]
    assert [line.split()[0] for line in lines] == [row["step"] for row in rows]


def test_the_result_is_a_run_like_any_other(compressed, tmp_path):
    run, _ = compressed
    splits = open_data(**run.data)
    test = evaluation_batches(splits.test, run.preprocessing, 8)
    predict = evaluation.keras_predictor(keras_inception.inference_model(run.model()))
    assert evaluation.evaluate_batches(predict, test, splits.labels).top1 >= 0.5
    report = keras_inception.export(run.path, tmp_path / "exported")
    assert list(report["variants"]) == ["int8"]
    assert report["variants"]["int8"]["agreement"] >= 0.9
    refused = keras_inception.export(run.path, tmp_path / "float", quantize=["float32"])["variants"]["float32"]
    assert "has been trained for int8" in refused["refused"]


def test_the_result_has_a_report_like_any_other_run(compressed):
    folder = compressed[0].path
    for name in ("batch.png", "curves.png", "confusion.png", "mistakes.png", "predictions.csv"):
        assert (folder / name).is_file()
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert f"keras-inception export {folder} --output exported" in page
    assert "predictions of the network that is compressed" in page


def test_the_factory_makes_the_pruned_network_from_its_recipe(compressed):
    run, _ = compressed
    pruned = Run(run.path / "steps" / "1_slim")
    recipe = Recipe.load(pruned.path / "recipe.json")
    assert recipe.options["filters"]
    made = registry.create("small_inception", input_shape=(32, 32, 3), classes=3, auxiliary=True, **recipe.options)
    made.set_weights(pruned.model().get_weights())
    assert analysis.cost(made).macs == analysis.cost(pruned.model()).macs
    assert set(pruned.model().output) == {"predictions", "aux"}, "auxiliary heads are trained too"
    with open(pruned.path / "metrics.csv", encoding="utf-8", newline="") as file:
        assert set(csv.DictReader(file).fieldnames) >= {"aux_loss", "predictions_loss"}
    with open(run.path / "metrics.csv", encoding="utf-8", newline="") as file:
        assert set(csv.DictReader(file).fieldnames) >= {"aux_loss", "predictions_loss"}, "in steps with tfmot too"


def test_a_pruned_network_has_recalibrated_batch_norms(compressed):
    run, _ = compressed
    pruned = Run(run.path / "steps" / "1_slim")
    model, images = pruned.model(), open_data(**pruned.data).train
    stem = keras.Model(model.inputs[0], model.get_layer("stem").output)
    batches = evaluation_batches(images, pruned.preprocessing, compression.BATCH)
    maps = np.concatenate([stem(np.asarray(x)) for x, _ in batches])
    norm = model.get_layer("stem_bn")
    np.testing.assert_allclose(norm.moving_mean, np.mean(maps, axis=(0, 1, 2)), atol=1e-4)
    assert norm.momentum == 0.8


def test_a_network_trained_for_int8_computes_as_its_file_does(compressed):
    run, _ = compressed
    model = keras_inception.inference_model(run.model())
    assert any(isinstance(layer, FakeQuantization) for layer in model.layers)
    file = TFLiteClassifier(run.path / "steps" / "exported" / "quantize" / "model_int8.tflite")
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    theirs = np.asarray(model(run.preprocessing.normalize(images.astype(np.float32)), training=False))
    np.testing.assert_allclose(file.predict(images), theirs, atol=0.03)


@pytest.mark.full
def test_an_interrupted_compression_ends_the_same_when_resumed(two_of_four, run, tmp_path, monkeypatch):
    whole, rows = two_of_four
    output = tmp_path / "run"
    begin = callbacks.RunCheckpoint.on_epoch_begin

    def stopping(keeper, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt
        begin(keeper, epoch, logs)

    with monkeypatch.context() as context:
        context.setattr(callbacks.RunCheckpoint, "on_epoch_begin", stopping)
        with pytest.raises(KeyboardInterrupt):
            compress(run.path, output, Job(prune="2:4"), settings=EPOCHS, verbose=0)
    assert Run(output / "steps" / "1_prune").path.exists()
    resumed = compress(None, output, resume=True, verbose=0)
    for ours, theirs in zip(resumed, rows, strict=True):
        for name in ("step", "macs", "mb", "top1", "sparsity"):
            assert ours[name] == theirs[name]
    for mine, other in zip(Run(output).model().get_weights(), whole.model().get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_resuming_leaves_a_complete_compression_as_it_is(compressed):
    run, rows = compressed
    before = (run.path / "steps" / "3_quantize" / "model.keras").stat().st_mtime_ns
    assert compress(None, run.path, resume=True, verbose=0).steps == rows.steps
    assert (run.path / "steps" / "3_quantize" / "model.keras").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match=r"was made by `compress`: continue it with `compress --resume`"):
        train(None, run.path, resume=True)


@pytest.mark.full
def test_two_of_four_weights_are_zero(two_of_four):
    run, rows = two_of_four
    for layer in run.model().layers:
        if isinstance(layer, keras.layers.Conv2D) and layer.kernel.shape[2] % 4 == 0:
            fours = (layer.kernel.numpy().transpose(0, 1, 3, 2).reshape(-1, 4) == 0).sum(axis=1)
            assert (fours >= 2).all(), layer.name
    assert rows[1]["gzip_mb"] < rows[0]["gzip_mb"]
    assert sparsity(run.path / "steps/exported/source/model_int8.tflite") == rows[0]["sparsity"]


@pytest.mark.full
def test_clustered_weights_have_few_values(run, tmp_path):
    rows = compress(run.path, tmp_path / "run", Job(cluster=8), settings={"epochs": "1"}, verbose=0)
    for layer in Run(tmp_path / "run").model().layers:
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
            assert len(np.unique(layer.kernel.numpy())) <= 8, layer.name
    assert rows[1]["gzip_mb"] < rows[0]["gzip_mb"]


@pytest.mark.slow
def test_latency_is_a_budget(run, tmp_path, monkeypatch):
    def benchmark(paths):
        sizes = [path.stat().st_size for path in paths]
        return [{"median_ms": size, "ratio": size / sizes[0]} for size in sizes]

    monkeypatch.setattr(budget, "BISECTIONS", 1)
    for module in (budget, compression):
        monkeypatch.setattr(module, "benchmark", benchmark)  # an exact clock
    rows = compress(run.path, tmp_path / "run", Job(latency=0.9), settings={"epochs": "1"}, verbose=0)
    assert rows[1]["macs"] < rows[0]["macs"]
    assert rows[1]["ratio"] < 0.92
    with pytest.raises(ValueError, match=r"still above the budget\. Received: latency=0\.1"):
        compress(run.path, tmp_path / "small", Job(latency=0.1), verbose=0)
    assert not (tmp_path / "small").exists()


@pytest.mark.full
def test_size_is_a_budget_and_named_layers_are_pruned_at_once(run, tmp_path, monkeypatch):
    monkeypatch.setattr(budget, "BISECTIONS", 1)
    job = Job(mb=0.8, prune=0.6, prune_schedule="constant", prune_layers=["left", "right"])
    source, filters, prune = compress(run.path, tmp_path / "run", job, settings={"epochs": "1"}, verbose=0)
    assert filters["mb"] <= 0.81 * source["mb"]
    for layer in Run(tmp_path / "run").model().layers:
        if isinstance(layer, keras.layers.Conv2D):
            zeros = float((layer.kernel.numpy() == 0).mean())
            assert (zeros == pytest.approx(0.6, abs=0.02)) if layer.name in job.prune_layers else zeros < 0.1
    assert prune["sparsity"] > filters["sparsity"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "there is nothing to do"),
        ({"macs": 0.0}, r"`macs` must be positive.*Received: macs=0.0"),
        ({"macs": float("nan")}, "`macs` must be positive"),
        ({"latency": -1}, "`latency` must be positive"),
        ({"macs": 0.5, "latency": 0.5}, r"give one of macs, latency, mb. Received: macs=0.5, latency=0.5"),
        ({"mb": -1.0}, "`mb` must be positive"),
        ({"prune": 0.5, "prune_schedule": "linear"}, "`prune_schedule` must be one of 'polynomial', 'constant'"),
        ({"macs": 0.5, "criterion": "size"}, "`criterion` must be one of 'taylor', 'l1', 'batch_norm_scale'. Rec"),
        ({"prune": 1.0}, r"`prune` must be a share in \(0, 1\) or '2:4'. Received: prune=1.0"),
        ({"prune": "1:4"}, "`prune` must be a share"),
        ({"cluster": 1}, "`cluster` must be 2 or more. Received: cluster=1"),
    ],
)
def test_wrong_jobs_are_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        Job(**arguments)


def test_refused_compressions_leave_nothing_behind(run, compressed, tmp_path):
    done, _ = compressed
    output = tmp_path / "new"
    with pytest.raises(ValueError, match="has been trained for int8: compress the run that it was made from"):
        compress(done.path, output, Job(prune=0.5))
    with pytest.raises(ValueError, match=r"cannot be pruned that far.*Received: macs=0.001"):
        compress(run.path, output, Job(macs=0.001))
    with pytest.raises(ValueError, match=r"must be convolutions.*Did you mean left.*Received: 'lef'"):
        compress(run.path, output, Job(prune=0.5, prune_layers=["lef"]))
    with pytest.raises(ValueError, match="a recipe has no field 'epoch'"):
        compress(run.path, output, Job(prune=0.5), settings={"epoch": "1"})
    with pytest.raises(ValueError, match="is not a run directory"):
        compress(tmp_path, output, Job(prune=0.5))
    with pytest.raises(ValueError, match=r"model.tflite is an exported file: compress the run directory"):
        compress(tmp_path / "model.tflite", output, Job(prune=0.5))
    with pytest.raises(ValueError, match=r"`distillation` must be in \[0, 1\]. Received: distillation=2"):
        compress(run.path, output, Job(prune=0.5), distillation=2)
    with pytest.raises(FileExistsError, match=r"exists\. Resume it"):
        compress(run.path, done.path, Job(prune=0.5))
    with pytest.raises(ValueError, match=r"was not made by `compress`: it has no compression.json"):
        compress(None, run.path, resume=True)
    with pytest.raises(ValueError, match=r"give either `job` or its attributes\. Received: both, prune"):
        compress(run.path, output, Job(macs=0.5), prune=0.5)
    with pytest.raises(ValueError, match="give neither when resuming"):
        compress(None, done.path, resume=True, prune=0.5)
    assert not output.exists()


def test_steps_are_gentler_than_the_original_training():
    recipe = Recipe(epochs=60, learning_rate=1e-3, schedule="steps", milestones=(30.0,), freeze_epochs=2, minutes=60.0)
    filters, quantize = (recipe_of(recipe, step) for step in ("slim", "quantize"))
    assert (filters.epochs, filters.minutes, filters.learning_rate) == (30, 30, 5e-4)
    assert (quantize.epochs, quantize.ema, quantize.precision, quantize.freeze_epochs) == (6, 0, "float32", 0)


@pytest.mark.parametrize(
    ("values", "preserved"), [(None, None), (8, "clusters"), (0, "sparsity")], ids=["plain", "clustered", "pruned"]
)
def test_training_for_int8_preserves_what_was_made_before(values, preserved):
    chance = np.random.default_rng(0)
    image = x = keras.Input((8, 8, 3))
    depthwise = keras.layers.DepthwiseConv2D(3)  # is neither pruned nor clustered
    for layer in (keras.layers.Conv2D(320, 1), depthwise, keras.layers.Conv2D(2, 1), keras.layers.Dense(2)):
        x = layer(x)
        kernel = chance.normal(size=layer.kernel.shape).astype(np.float32)
        if layer is not depthwise and values is not None:
            kernel = np.round(kernel * 2).clip(-3, 4) / 2 if values else np.where(np.abs(kernel) < 0.6, 0, kernel)
        layer.kernel.assign(kernel)
    assert compression._preserved(keras.Model(image, x)) == preserved
