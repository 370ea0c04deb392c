"""Commands about networks and their weights: list, cost and convert-weights."""

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keras_inception.cli import console

if TYPE_CHECKING:
    from keras_inception.analysis import Cost
    from keras_inception.weights.publishers import Published


def list_networks(json: console.Json = False) -> None:
    """List the networks with their cost and published weights."""
    from keras_inception import registry
    from keras_inception.utils import tables
    from keras_inception.weights.publishers import published_for

    if json:
        networks = [
            {
                "name": name,
                "input": [figures.size, figures.size, 3],
                "parameters": figures.parameters,
                "macs": figures.macs,
                "weights": [
                    {key: value for key, value in entry._asdict().items() if key not in ("network", "preprocessing")}
                    for entry in published_for(name)
                ],
            }
            for name, figures in registry.NETWORKS.items()
        ]
        console.print_json(networks)
        return
    rows = [
        {
            "network": name,
            **figures._asdict(),
            "weights": "\n".join(map(_accuracy, published_for(name))) or "none published",
        }
        for name, figures in registry.NETWORKS.items()
    ]
    macs = tables.COLUMNS["macs"]._replace(show=tables.fixed(2, " G", per=1e9))
    weights = tables.Column("ImageNet top-1 / top-5", is_text=True)
    size = tables.COLUMNS["size"]._replace(title="input")  # "pixels" would make an accuracy wrap at 80 columns
    columns = tables.columns("network", "size", "parameters", "macs", size=size, macs=macs) | {"weights": weights}
    typer.echo(tables.text(columns, rows))
    typer.echo("Build one with keras_inception.create(NAME, weights=…): None, imagenet, imagenet:WEIGHTS or a file.")
    typer.echo("* not checked against an installed package; weights=imagenet does not choose these.")


def cost(
    model: Annotated[
        str, typer.Argument(metavar="NETWORK|RUN|FILE.keras", help="Name of a network, run directory or .keras file.")
    ],
    size: Annotated[int | None, typer.Option(min=1, help="Side of the input in pixels.")] = None,
    classes: Annotated[int | None, typer.Option(help="Number of classes; only with the name of a network.")] = None,
    budget: Annotated[
        float | None, typer.Option(help="Maximum multiply-adds, such as 1.5e9. Exit with code 1 if exceeded.")
    ] = None,
    by: Annotated[str, typer.Option(help="Rows of the table: layers, modules or stages.")] = "modules",
    plot: Annotated[Path | None, typer.Option(help="PNG file for a plot by module.")] = None,
    json: console.Json = False,
) -> None:
    """Count a network's parameters, multiply-adds and memory.

    With --budget the exit code is 1 if the network needs more multiply-adds.
    """
    from keras_inception.utils import files

    if by not in (allowed := ("layers", "modules", "stages")):
        raise ValueError(f"`by` must be one of {', '.join(allowed)}. Received: {by!r}")
    files.check_parent(plot)
    result = _cost(model, size, classes)
    verdict = None if budget is None else result.within(budget)
    table = result.table(by)
    if plot:
        result.plot(plot)
    if json:
        console.print_json({**result.to_dict(), "budget": None if verdict is None else verdict.to_dict()})
    else:
        typer.echo(table if verdict is None else f"{table}\n{verdict}")
        if plot:
            typer.echo(f"Plot: {plot}")
    if verdict is not None and not verdict:
        raise SystemExit(1)


def convert_weights(
    source: Annotated[str, typer.Argument(metavar="IN", help="A weights file, a run directory, or imagenet.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The .keras or .safetensors file to write.")],
    model: Annotated[
        str | None, typer.Option(help="Name of the network, if the names of the tensors do not identify it.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
    json: console.Json = False,
) -> None:
    """Convert weights of any supported format to .keras or .safetensors.

    A .safetensors file can be passed to a network as weights=.
    """
    from keras_inception import registry
    from keras_inception.conversion import check_conversion

    check_conversion(source, target, overwrite=overwrite)
    if model is not None:
        registry.resolve(model)
    console.import_tensorflow()
    from keras_inception.conversion import convert

    converted = convert(source, target, model=model, overwrite=overwrite)
    preprocessing = jsonlib.loads(converted.preprocessing.to_json())
    if json:
        console.print_json({**converted._asdict(), "path": str(target), "preprocessing": preprocessing})
        return
    classes = "no classifier" if converted.classes is None else f"{converted.classes} classes"
    typer.echo(f"{converted.network} of {converted.publisher}: {converted.tensors} tensors, {classes}")
    typer.echo(f"Preprocessing: {jsonlib.dumps(preprocessing)}")
    typer.echo(f"Written: {target}")


def _accuracy(entry: "Published") -> str:
    """Return the accuracy of published weights in percent; an asterisk marks unverified weights."""
    top5 = "–" if entry.top5 is None else f"{entry.top5:.1f}"
    return f"{entry.publisher} {entry.top1:.1f} / {top5}{'' if entry.verified else ' *'}"


def _cost(model: str, size: int | None, classes: int | None) -> "Cost":
    """Count the cost of a run, a file or a network by name; an existing path takes precedence over a name."""
    from keras_inception import registry, runs

    path = Path(model)
    is_path = path.exists() or path.suffix == ".keras" or path.name != model
    if is_path and not path.exists():
        raise FileNotFoundError(f"there is no run directory or .keras file at {model}")
    if is_path and classes is not None:
        raise ValueError(f"--classes goes with the name of a network, and {model} is a path")
    shape = None if size is None else (size, size, 3)
    name = model if is_path else registry.resolve(model)
    console.import_tensorflow()
    import keras

    from keras_inception import analysis

    if is_path:
        return analysis.cost(runs.load(path), input_shape=shape)
    options = {"classes": classes, "input_shape": shape}
    with keras.StatelessScope(initialize_variables=False):  # shapes only: the weights of VGG-19 take 575 MB
        network = registry.create(name, **{key: value for key, value in options.items() if value is not None})
    return analysis.cost(network)
