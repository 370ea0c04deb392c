"""Commands about networks and their weights: list, cost and convert-weights."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from keras_inception import registry
from keras_inception.cli import console
from keras_inception.utils import files, tables
from keras_inception.utils.checks import check_one_of

if TYPE_CHECKING:
    import keras

    from keras_inception.weights.publishers import Published


def list_networks(json: console.Json = False) -> None:
    """List the networks with their cost and published weights."""
    from keras_inception.weights.publishers import published_for

    networks = {name: (network, published_for(name)) for name, network in registry.NETWORKS.items()}
    if json:
        rows = [
            {
                "name": name,
                "input": [network.size, network.size, 3],
                "parameters": network.parameters,
                "macs": network.macs,
                "weights": [_record(entry) for entry in published],
            }
            for name, (network, published) in networks.items()
        ]
        console.print_json(rows)
        return
    rows = [
        {"network": name, **network._asdict(), "weights": "\n".join(map(_accuracy, published)) or "none published"}
        for name, (network, published) in networks.items()
    ]
    macs = tables.COLUMNS["macs"]._replace(show=tables.fixed(2, " G", per=1e9))
    size = tables.COLUMNS["size"]._replace(title="input")  # "pixels" would make an accuracy wrap at 80 columns
    columns = tables.columns("network", "size", "parameters", "macs", size=size, macs=macs)
    typer.echo(tables.text({**columns, "weights": tables.Column("ImageNet top-1 / top-5", is_text=True)}, rows))
    typer.echo("Build one with keras_inception.create(NAME, weights=…): None, imagenet, imagenet:WEIGHTS or a file.")
    typer.echo("* not checked against an installed package; never chosen by weights=imagenet.")


def cost(
    model: Annotated[str, Argument(metavar="NETWORK|RUN|MODEL", help="Network, run directory, .keras or .h5 file.")],
    size: Annotated[int | None, Option(min=1, help="Side of the input in pixels.")] = None,
    classes: Annotated[int | None, Option(help="Number of classes; only with the name of a network.")] = None,
    budget: Annotated[float | None, Option(help="Maximum multiply-adds, such as 1.5e9.")] = None,
    by: Annotated[str, Option(help="Rows of the table: layers, modules or stages.")] = "modules",
    plot: Annotated[Path | None, Option(help="PNG file for a plot by module.")] = None,
    custom_objects: console.CustomObjects = None,
    json: console.Json = False,
) -> None:
    """Count a network's parameters, multiply-adds and memory.

    With --budget, the exit code is 1 if the network needs more multiply-adds.
    """
    check_one_of("by", by, ("layers", "modules", "stages"))
    files.check_parent(plot)
    shape = None if size is None else (size, size, 3)
    network = _network(model, shape, classes, custom_objects)
    from keras_inception import analysis

    result = analysis.cost(network, input_shape=shape)
    verdict = None if budget is None else result.within(budget)
    if plot:
        result.plot(plot)
    if json:
        console.print_json({**result.to_dict(), "budget": None if verdict is None else verdict.to_dict()})
    else:
        typer.echo(result.table(by))
        if verdict is not None:
            typer.echo(verdict)
        if plot:
            typer.echo(f"Plot: {plot}")
    if verdict is not None and not verdict:
        raise SystemExit(1)


def convert_weights(
    source: Annotated[str, Argument(metavar="IN", help="A weights file, a run directory, or imagenet.")],
    target: Annotated[Path, Argument(metavar="OUT", help="The .keras or .safetensors file to write.")],
    model: Annotated[str | None, Option(help="Name of the network, if tensor names are ambiguous.")] = None,
    overwrite: console.Overwrite = False,
    json: console.Json = False,
) -> None:
    """Convert weights of any supported format to .keras or .safetensors.

    A .safetensors file can be passed to a network as weights=.
    """
    from keras_inception.conversion import check_conversion, convert

    check_conversion(source, target, overwrite=overwrite)
    if model is not None:
        registry.resolve(model)
    console.import_tensorflow()
    converted = convert(source, target, model=model, overwrite=overwrite)
    if json:
        preprocessing = dataclasses.asdict(converted.preprocessing)
        console.print_json({**converted._asdict(), "path": str(target), "preprocessing": preprocessing})
        return
    classes = "no classifier" if converted.classes is None else f"{converted.classes} classes"
    typer.echo(f"{converted.network} of {converted.publisher}: {converted.tensors} tensors, {classes}")
    typer.echo(f"Preprocessing: {converted.preprocessing.to_json()}")
    typer.echo(f"Written: {target}")


def _accuracy(entry: "Published") -> str:
    """Return the accuracy of published weights in percent; an asterisk marks unverified weights."""
    top5 = "–" if entry.top5 is None else f"{entry.top5:.1f}"
    return f"{entry.publisher} {entry.top1:.1f} / {top5}{'' if entry.verified else ' *'}"


def _record(entry: "Published") -> dict[str, Any]:
    """Return an entry as a dictionary, without its preprocessing and its network, which the enclosing row names."""
    return {key: value for key, value in entry._asdict().items() if key not in ("network", "preprocessing")}


def _network(
    model: str, shape: tuple[int, int, int] | None, classes: int | None, custom_objects: Path | None
) -> "keras.Model":
    """Return the network of a run or a file, or a registered network; an existing path takes precedence over a name."""
    from keras_inception import model_files

    path = Path(model)
    is_path = path.exists() or path.suffix in (".keras", ".h5") or path.name != model
    if is_path and classes is not None and path.exists():
        raise ValueError(f"--classes requires the name of a network, and {model} is a path")
    if is_path:
        model_files.check_exists(path)
    elif custom_objects is not None:
        raise ValueError(f"--custom-objects requires a file, and {model} is the name of a network")
    model_files.check_custom_objects(custom_objects)
    name = model if is_path else registry.resolve(model)
    console.import_tensorflow()
    import keras

    from keras_inception import runs

    if is_path:
        network = runs.load(path, custom_objects)
        if model_files.is_one_layer(network):
            raise ValueError(f"{path} could only be opened as one layer, whose cost is not known")
        return network
    with keras.StatelessScope(initialize_variables=False):  # shapes only: the weights of VGG-19 take 575 MB
        return registry.create(name, input_shape=shape, classes=1000 if classes is None else classes)
