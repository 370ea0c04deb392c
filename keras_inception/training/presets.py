"""Built-in recipes. Each recipe's `about` states its results."""

import os

from keras_inception.datasets import Augmentation
from keras_inception.training.recipe import Recipe
from keras_inception.utils.suggestions import did_you_mean

NOT_RUN = "Not run here: ImageNet is not available."

# 1409.4842, section 6: a crop of 8 to 100 % of the area with an aspect ratio of 3/4 to 4/3, resized with a random
# method, and color changes after Howard (1312.5402). The paper does not state the strength of the color changes.
INCEPTION = Augmentation(
    area=(0.08, 1.0), interpolation="mixed", brightness=0.125, contrast=0.5, saturation=0.5, hue=0.2
)
# A crop of the input size after rescaling the shorter side, and lighting noise along the principal components of
# ImageNet's colors (Krizhevsky et al. 2012, section 4.1).
SCALED = Augmentation(
    scale=(256 / 224, 480 / 224), lighting=0.1, area=(1, 1), brightness=0, contrast=0, saturation=0, hue=0
)
# Divide the rate by ten whenever the validation accuracy stalls, as Krizhevsky et al. and their successors did.
PLATEAUS = Recipe(
    optimizer="sgd", learning_rate=0.01, schedule="plateau", decay=0.1, decay_epochs=5, ema=0.0, label_smoothing=0.0
)
# Lower the rate by a few percent every few epochs, and average the weights, as Szegedy et al. did.
STAIRCASE = Recipe(batch_size=32, momentum=0.9, rho=0.9, schedule="exponential", ema=0.9999, augmentation=INCEPTION)

RECIPES = {
    "default": Recipe(about="Not run here. For photographs of any kind, from random weights: train --from-scratch."),
    # Used by the demo. In 14 epochs, SGD at 0.1 reached 41 % validation accuracy and AdamW at 2e-3 reached 54 %.
    "small": Recipe(
        about="For small images, small datasets and little time. 52 % top-1 on the bundled pictograms' test images "
        "after 8 minutes on 2 cores: keras-inception demo. 62 % after an hour, with larger and mixed images: "
        "benchmarks/train_table.py pictograms_60.",
        size=96,
        training_size=80,
        crop=1.0,
        epochs=30,
        batch_size=64,
        learning_rate=2e-3,
        warmup_epochs=1.0,
        ema=0.99,
        validate_every=5,
    ),
    "modern": Recipe(
        about=f"{NOT_RUN} Later practice: cosine schedule, warmup, averaged weights, MixUp and CutMix.",
        epochs=100,
        batch_size=128,
        learning_rate=2e-3,
        warmup_epochs=5.0,
        ema=0.9999,
        augmentation=Augmentation(area=(0.2, 1.0), distortions=2, erase=0.1, mixup=0.2, cutmix=1.0),
    ),
    "finetune": Recipe(
        about="Used if no recipe is named. Fine-tune ImageNet weights for other classes: first the new classifier "
        "alone, then the whole network. Not run here with published weights, which are not available. Its settings "
        "were chosen with weights from half of the pictograms' classes: benchmarks/finetune_table.py.",
        weights="imagenet",
        epochs=20,
        freeze_epochs=4,
        learning_rate=1e-3,
        thaw_learning_rate=1e-3,
        warmup_epochs=1.0,
        weight_decay=0.01,
        augmentation=Augmentation(area=(0.5, 1.0)),
    ),
    # The paper states neither the learning rate nor the epochs. They come from Caffe's bvlc_googlenet.
    "googlenet-2014": STAIRCASE.replace(
        about=f"{NOT_RUN} The paper: 10.07 % top-5 error, single crop. GoogLeNet as in 1409.4842, section 6.",
        options={"normalization": "lrn"},
        epochs=60,
        optimizer="sgd",
        learning_rate=0.01,
        decay=0.96,
        decay_epochs=8,
        weight_decay=2e-4 / (1 - 0.9),
        label_smoothing=0.0,
    ),
    "inception-v3-2015": STAIRCASE.replace(
        about=f"{NOT_RUN} The paper: 21.2 % top-1 and 5.6 % top-5 error, single crop. Inception v3 as in 1512.00567, "
        "section 8; instead of its 50 replicas of 32 images, 50 accumulated steps of 32.",
        network="inception_v3",
        size=299,
        auxiliary_weight=0.4,
        epochs=100,
        accumulate=50,
        optimizer="rmsprop",
        epsilon=1.0,
        learning_rate=0.045,
        decay=0.94,
        decay_epochs=2,
        weight_decay=4e-5 / (1 - 0.9),
        clip_norm=2.0,
    ),
    "resnet-2015": PLATEAUS.replace(
        about=f"{NOT_RUN} The paper: 25.03 and 28.54 % top-1 error, ten crops. ResNet-34 and Plain-34 as in "
        "1512.03385, section 3.4: 600,000 steps.",
        network="resnet34",
        epochs=120,
        batch_size=256,
        learning_rate=0.1,
        weight_decay=1e-4 / (1 - 0.9),
        augmentation=SCALED,
    ),
    "vgg-2014": PLATEAUS.replace(
        about=f"{NOT_RUN} The paper: 25.5 % top-1 and 8.0 % top-5 error, VGG-19, single scale. VGG as in 1409.1556, "
        "section 3.1: 74 epochs, the rate lowered three times.",
        network="vgg19",
        options={"normalization": None},
        epochs=74,
        batch_size=256,
        weight_decay=5e-4 / (1 - 0.9),
        augmentation=SCALED.replace(scale=(256 / 224, 512 / 224)),
    ),
    # The paper refers to AlexNet's training. The learning rate comes from the published solver.
    "nin-2013": PLATEAUS.replace(
        about=f"{NOT_RUN} Network in Network as in 1312.4400, section 4: the rate lowered twice.",
        network="network_in_network",
        epochs=90,
        batch_size=128,
        weight_decay=5e-4 / (1 - 0.9),
        augmentation=SCALED.replace(scale=(256 / 224, 256 / 224), lighting=0.0),
    ),
}


def named_recipe(name: str) -> Recipe:
    """Return one of `RECIPES` by its name, or read a recipe from a JSON file.

    Raises:
        ValueError: there is no such name or file, or the file is not a recipe.
    """
    if name in RECIPES:
        return RECIPES[name]
    if not os.path.isfile(name):
        hint = did_you_mean(name, RECIPES)
        raise ValueError(f"`recipe` must be one of {', '.join(RECIPES)}, or a JSON file.{hint} Received: {name!r}")
    return Recipe.load(name)
