"""Exported files give the same outputs on an ARM processor, under qemu, as here. Run by `make test-arm64`."""

import pytest
from arm64 import LIMITS, compared
from exports import drawn, noise

from keras_inception import registry
from keras_inception.exporting.clients.arm64_userland import userland
from keras_inception.exporting.exporter import export
from keras_inception.exporting.variants import VARIANTS

pytestmark = pytest.mark.arm64

SIDE = 96
NETWORKS = {
    "googlenet": ("googlenet", {}),
    "googlenet_batch_norm": ("googlenet", {"normalization": "batch_norm"}),
    "inception_v3": ("inception_v3", {}),
}


@pytest.fixture(scope="module", params=NETWORKS)
def measured(request, tmp_path_factory, pictures):
    """Results of a network by variant of the exported file."""
    folder = tmp_path_factory.mktemp(request.param)
    name, options = NETWORKS[request.param]
    model = drawn(registry.create(name, input_shape=(SIDE, SIDE, 3), classes=100, **options))
    export(model, folder, name=request.param, calibration=pictures / "train", min_agreement=0, half_precision=False)
    shown = noise((SIDE, SIDE), 4)
    return {variant: compared(userland(), folder / f"{request.param}_{variant}.tflite", shown) for variant in VARIANTS}


@pytest.mark.parametrize("variant", VARIANTS)
def test_probabilities_agree(measured, variant):
    assert measured[variant]["probabilities"] <= LIMITS[variant]


def test_int8_is_identical_up_to_the_softmax(measured):
    assert measured["int8"]["logits"] == 0


def test_int8_takes_the_fewest_instructions(measured):
    counts = {variant: row["instructions"] for variant, row in measured.items()}
    assert min(counts, key=counts.__getitem__) == "int8"
