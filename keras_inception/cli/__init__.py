"""The command ``keras-inception``.

The commands only parse arguments, call the package and print. Heavy modules are imported inside the commands that need
them, so that ``--help`` stays fast.
"""

from collections.abc import Callable

from keras_inception.cli import evaluating, exporting, networks, training
from keras_inception.cli.console import app
from keras_inception.cli.console import main as main

COMMANDS: dict[str, Callable[..., None]] = {
    "train": training.train,
    "recipes": training.recipes,
    "evaluate": evaluating.evaluate,
    "predict": evaluating.predict,
    "export": exporting.export,
    "compress": exporting.compress,
    "rewrites": exporting.rewrites,
    "benchmark": exporting.benchmark,
    "page": exporting.page,
    "demo": training.demo,
    "list": networks.list_networks,
    "cost": networks.cost,
    "shard": training.shard,
    "convert-weights": networks.convert_weights,
}
for name, command in COMMANDS.items():
    app.command(name)(command)
