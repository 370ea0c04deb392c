"""All commands, in the order of ``--help``."""

from keras_inception.cli.checking import check
from keras_inception.cli.console import app, main
from keras_inception.cli.evaluating import evaluate
from keras_inception.cli.exporting import benchmark, compress, export, page, rewrites
from keras_inception.cli.networks import convert_weights, cost, list_networks
from keras_inception.cli.predicting import predict
from keras_inception.cli.reporting import report
from keras_inception.cli.training import demo, recipes, shard, train

__all__ = ["COMMANDS", "app", "main"]

COMMANDS = (check, train, recipes, report, evaluate, predict, export, compress, rewrites, benchmark, page, demo)
for command in COMMANDS:
    app.command()(command)
app.command("list")(list_networks)
app.command()(cost)
app.command()(shard)
app.command()(convert_weights)
