"""Networks trained on the bundled pictograms, in minutes each. Their runs stay in the cache folder."""

import hashlib
import json
import shutil

from keras_inception import datasets, train
from keras_inception.runs import CHECKPOINTS, Run, is_run
from keras_inception.training import RECIPES
from keras_inception.utils import files
from keras_inception.version import __version__

SHORT = RECIPES["small"].replace(training_size=64, epochs=4)
TRAININGS = {
    "googlenet": SHORT.replace(options={"normalization": "batch_norm"}),
    "googlenet_lrn": SHORT.replace(options={"normalization": "lrn"}, epochs=6, learning_rate=5e-4),
    "inception_v3": SHORT.replace(network="inception_v3", training_size=80, epochs=5),
}


def trained(name: str) -> Run:
    """Return the run of a network in `TRAININGS`, trained or resumed if it is not complete in the cache."""
    recipe = TRAININGS[name]
    digest = hashlib.sha256(json.dumps(recipe.to_dict(), sort_keys=True).encode()).hexdigest()[:16]
    folder = files.cache() / "runs" / f"{name}-{__version__}-{digest}"
    if is_run(folder) and not (folder / CHECKPOINTS).exists():
        return Run(folder)
    if is_run(folder):
        run = train(None, folder, resume=True)
    else:
        run = train(datasets.pictograms(files.cache() / "pictograms"), folder, recipe=recipe)
    shutil.rmtree(folder / CHECKPOINTS)  # hundreds of MB, which only an interrupted training needs
    return run
