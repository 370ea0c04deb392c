"""Run one process of the distributed training in test_distribution.py: ``python spread.py JSON``.

The JSON has ``open``, the arguments of `open_distribution`; ``devices``, the number of devices to split the CPU into;
and ``runs``, a list of arguments of `train` with the recipe as a dictionary. ``signals`` among the arguments of a run
is a signal that the process sends to itself: its name, and the epoch and step, from 0. Each run saves its final weights
next to its run directory, one file per worker. ``command``, arguments of ``keras-inception``, may replace ``runs``.
"""

import json
import os
import signal
import sys

import numpy as np

from keras_inception import registry
from keras_inception.cli import commands as cli
from keras_inception.preprocessing import DEFAULT
from keras_inception.training.distribution import open_distribution, prepare


def tiny(input_shape, classes, auxiliary=False, dropout=0.0, weights=None, skip_mismatch=False):
    """Build two convolutions with batch norm. JAX takes half a minute to compile the package's smallest network."""
    from keras import Model, layers

    x = inputs = layers.Input(input_shape)
    for filters in (8, 16):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False, name=f"conv_{filters}")(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.8, name=f"conv_{filters}_bn")(x))
    x = layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(x))
    model = Model(inputs, layers.Dense(classes, "softmax", name="predictions")(x), name="tiny")
    model.preprocessing = DEFAULT
    if weights:
        from keras_inception.weights import read_weights

        checkpoint = read_weights(weights, "tiny")
        checkpoint.load_into(model, skip_mismatch=skip_mismatch)
        model.preprocessing, model.publisher = checkpoint.preprocessing, checkpoint.publisher
    return model


def register():
    registry.NETWORKS["tiny"] = registry.Network(f"{__name__}:tiny", 32, 0, 0)


def signalling(name, epoch_to_be, step_to_be):
    import keras

    class Signalling(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

        def on_train_batch_begin(self, batch, logs=None):
            if (self.epoch, batch) == (epoch_to_be, step_to_be):
                os.kill(os.getpid(), signal.Signals[name])

    return Signalling()


def train(distribution, output, recipe=None, signals=None, **arguments):
    from keras_inception.training import Recipe, trainer

    def fit(model, batches, callbacks, **others):
        callbacks = [*callbacks, signalling(*signals)] if signals else callbacks
        type(distribution).fit(distribution, model, batches, callbacks=callbacks, **others)
        np.savez(f"{output}-{distribution.part[0]}.npz", *model.get_weights())

    distribution.fit = fit
    chosen = recipe and Recipe.from_dict(recipe)
    return trainer.train(output=output, recipe=chosen, distribution=distribution, verbose=0, **arguments)


def main(job):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background processes start with SIGINT ignored
    os.environ["JAX_NUM_CPU_DEVICES"] = str(job["devices"])
    prepare(job["open"]["name"])
    import tensorflow as tf

    devices = [tf.config.LogicalDeviceConfiguration()] * job["devices"]
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
    register()
    if "command" in job:
        cli.main(job["command"])
        return
    with open_distribution(**job["open"]) as distribution:
        for run in job["runs"]:
            try:
                train(distribution, **run)
            except KeyboardInterrupt:
                print("interrupted")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
