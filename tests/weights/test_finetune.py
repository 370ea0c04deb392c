"""Training from published weights trains their publisher's network."""

import numpy as np
import pytest

from keras_inception.training import Recipe, building
from keras_inception.training.presets import RECIPES

SIZE = 96


@pytest.mark.full
@pytest.mark.parametrize(("name", "mean"), [("tv_googlenet", 0.456 * 255), ("caffe_googlenet", 117.0)])
def test_the_trained_network_has_the_layout_of_its_weights(name, mean, weight_file, pixels):
    recipe = building.resolved(Recipe(weights=str(weight_file(name)), size=SIZE, precision="float32"))
    kept, trainee = building.build(recipe, 5, SIZE, "float32"), building.trainee(recipe, 5)
    building.copy_weights(kept, trainee)
    preprocessing = building.preprocessing(recipe, kept)
    assert preprocessing.size == (SIZE, SIZE)
    assert preprocessing.mean[1] == pytest.approx(mean)
    x = preprocessing.normalize(pixels(SIZE, SIZE).astype(np.float32))
    ours, theirs = trainee.predict(x, verbose=0), kept.predict(x, verbose=0)
    assert set(ours) == {"predictions", "aux_4a", "aux_4d"}
    for output in ours:
        np.testing.assert_allclose(ours[output], theirs[output], atol=1e-5)
    assert ours["predictions"].shape == (1, 5), "another number of classes"


def test_an_option_that_contradicts_the_weights_is_an_error(weight_file):
    recipe = RECIPES["finetune"].replace(weights=str(weight_file("tv_googlenet")), options={"normalization": "lrn"})
    with pytest.raises(ValueError, match=r"`normalization`.*Received: "):
        building.build(recipe, 5, SIZE, "float32")
