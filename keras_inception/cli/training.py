"""Commands that train and prepare data: train, recipes, shard and demo."""

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from keras_inception.cli import console, stopping
from keras_inception.cli.exporting import show_report
from keras_inception.utils.progress import bars
from keras_inception.utils.tables import columns, number, text

if TYPE_CHECKING:
    from keras_inception.runs import Run
    from keras_inception.training import Recipe


def train(
    context: typer.Context,
    images: Annotated[str | None, Argument(metavar="IMAGES", help=console.DATA)] = None,
    output: Annotated[Path, Option("--output", "-o", help="Run directory to create.")] = Path("run"),
    resume: console.Resume = False,
    pictures: console.Pictures = None,
    columns: console.Columns = None,
    group: console.Group = None,
    exclude: console.Exclude = None,
    recipe: Annotated[str | None, Option(help="Name (see `keras-inception recipes`) or JSON file.")] = None,
    settings: console.Settings = None,
    from_scratch: Annotated[bool, Option("--from-scratch", help="Begin with random weights.")] = False,
    network: Annotated[
        str | None,
        Option("--network", "--model", help="See `keras-inception list`; or keras:EfficientNetV2B0, …."),
    ] = None,
    weights: Annotated[str | None, Option(help="Initial weights: a file, a run directory, or imagenet.")] = None,
    size: Annotated[str | None, Option(metavar="SIDE|HEIGHTxWIDTH", help="Input size in pixels.")] = None,
    fitting: Annotated[str | None, Option(help="How images are fitted to it: crop, stretch or pad.")] = None,
    epochs: Annotated[int | None, Option(help="Passes over the training images. With --resume, in all.")] = None,
    minutes: Annotated[float | None, Option(help="Time limit; training stops early if needed.")] = None,
    early_stopping: Annotated[
        int | None, Option("--patience", metavar="N", help="Stop after N epochs without a better validation top-1.")
    ] = None,
    batch_size: Annotated[int | None, Option(help="Images per step.")] = None,
    learning_rate: Annotated[
        float | None, Option("--learning-rate", "--lr", help="Peak learning rate of the schedule.")
    ] = None,
    auxiliary: Annotated[bool | None, Option(help="Train with the auxiliary heads.")] = None,
    precision: Annotated[str | None, Option(help="auto, float32, mixed_bfloat16 or mixed_float16.")] = None,
    tensorboard: Annotated[bool | None, Option("--tensorboard", help="Write TensorBoard logs.")] = None,
    seed: Annotated[int | None, Option(help="Seed for weights, shuffling, augmentation and dropout.")] = None,
    distribute: Annotated[str | None, Option(help="mirrored (this machine's GPUs) or multiworker (machines).")] = None,
    workers: Annotated[str | None, Option(metavar="HOST:PORT,...", help="All workers. Default: TF_CONFIG's.")] = None,
    worker_id: Annotated[int | None, Option(help="Index of this worker, from 0.")] = None,
    validation: Annotated[float | None, Option(help="Share of train/ to hold out. Default: 0.15.")] = None,
    strict: console.Strict = False,
) -> None:
    """Train an image classifier. Without --recipe, fine-tune the published weights of GoogLeNet or of --network.

    With --resume, go on with a run that was interrupted; with --resume --epochs N also with one that is complete. Give
    images that were moved again.
    """
    from keras_inception import datasets
    from keras_inception import training as trainer
    from keras_inception.datasets.sources import check_there
    from keras_inception.datasets.splits import check_share
    from keras_inception.reports.run import REPORT
    from keras_inception.runs import RECIPE, Run
    from keras_inception.training.distribution import open_distribution, prepare
    from keras_inception.training.recipe import size_from
    from keras_inception.weights.publishers import check_weights

    changes, given = console.fields_of(trainer.Recipe, context), console.assignments(settings)
    if size is not None:
        changes["size"] = size_from(size)
    table: dict[str, Any] = {"root": pictures, "columns": columns, "group": group, "exclude": exclude}
    others = changes.keys() - {"epochs"} or given or recipe or from_scratch
    if resume and (others or any(value is not None for value in (validation, columns, group, exclude))):
        raise ValueError(
            f"--resume takes the recipe and the split from {output}: give neither, only --epochs, or IMAGES (or "
            "--pictures) if they were moved"
        )
    if not resume and images is None:
        raise ValueError(
            "IMAGES is missing: give a folder of class folders or a table of labels, or --resume to resume a run"
        )
    if not resume and not distribute and output.exists():  # another worker may have created it already
        raise FileExistsError(f"{output} exists: resume it with --resume, or choose another --output")
    data = Run(output).data if resume else {}
    if resume and images is None and pictures is None:
        check_there(output, data)
    else:
        source = data["source"] if images is None else images
        datasets.recorded(source, **{**table, "columns": data.get("columns", columns)})
    chosen = None if resume else _recipe(recipe, changes, given, from_scratch=from_scratch)
    (chosen or trainer.Recipe.load(output / RECIPE)).check_installed()
    if chosen and chosen.weights is not None:
        check_weights(chosen.weights)
    share = 0.15 if validation is None else validation
    check_share(share)
    prepare(distribute)
    moved = (images,) if resume and images is not None else ()
    again = {"--output": output, "--distribute": distribute, "--workers": workers, "--worker-id": worker_id}
    more = {"--epochs": epochs, "--pictures": pictures} if resume else {}
    given_again = [each for option in {**again, **more}.items() if option[1] is not None for each in option]
    stopping.when_resumable(lambda: _kept(output), "train", *moved, "--resume", *given_again)
    console.import_tensorflow()
    with open_distribution(distribute, workers=workers, worker_id=worker_id) as distribution:
        run = trainer.train(
            images,
            output,
            recipe=chosen,
            resume=resume,
            validation=share,
            strict=strict,
            **table,
            distribution=distribution,
            on_scan=console.progress("Scanning images"),
            **(changes if resume else {}),
        )
    typer.echo(f"{_stopped_early(run)}Run: {run.path}")
    if (run.path / REPORT).is_file():
        typer.echo(f"Report: {run.path / REPORT}")


def _kept(output: Path) -> str:
    """Describe what a run keeps; raise ValueError if there is none."""
    from keras_inception.runs import Run, kept_so_far

    return kept_so_far(output, max(Run(output).checkpoints, default=0))


def _stopped_early(run: "Run") -> str:
    """Return a line about `--patience` if a run ended by it; otherwise an empty string."""
    from keras_inception.runs import RECIPE
    from keras_inception.training import Recipe
    from keras_inception.training.schedules import plateaus

    recipe, rows = Recipe.load(run.path / RECIPE), run.metrics
    accuracies = [(row["epoch"], row["val_top1"]) for row in rows[recipe.extended_at :] if "val_top1" in row]
    if len(rows) >= recipe.epochs or not recipe.early_stopping or not plateaus(accuracies, recipe.early_stopping):
        return ""
    best = max(accuracies, key=lambda each: each[1])[0]  # of equal ones, the first
    return f"Stopped after epoch {len(rows)} of {recipe.epochs}: no better validation top-1 since epoch {best}.\n"


def _recipe(name: str | None, changes: dict[str, Any], given: dict[str, str], *, from_scratch: bool) -> "Recipe":
    """Return the recipe of that name, or the one to use without a name, with the fields that the options change."""
    from keras_inception.training import named_recipe
    from keras_inception.training.initial_weights import unnamed_recipe
    from keras_inception.weights.publishers import IMAGENET

    asked = {**changes, **given}
    weights = asked.get("weights", IMAGENET)
    if from_scratch and weights != "none" and "weights" in asked:
        raise ValueError(f"--from-scratch sets no weights: give one of both. Received: weights={weights}")
    if from_scratch or weights == "none":
        chosen = (named_recipe(name) if name else unnamed_recipe(asked.get("network"), None)).from_scratch()
        return chosen.replace(**{**changes, "weights": None}).override(given)
    chosen = named_recipe(name) if name else unnamed_recipe(asked.get("network"), weights)
    return chosen.replace(**changes).override(given)


def recipes(name: Annotated[str | None, Argument(metavar="NAME", help="Recipe to print as JSON.")] = None) -> None:
    """List the training recipes, or print one as JSON.

    The JSON can be edited and passed to `train --recipe FILE`.
    """
    from keras_inception.training import RECIPES, named_recipe

    if name:
        typer.echo(jsonlib.dumps(named_recipe(name).to_dict(), indent=2, ensure_ascii=False))
        return
    rows = [{"recipe": key, "network": recipe.network, "about": recipe.about} for key, recipe in RECIPES.items()]
    typer.echo(text(columns("recipe", "network", "about"), rows))
    typer.echo("Change any field: keras-inception train IMAGES --recipe small --set label_smoothing=0.05")


def shard(
    images: Annotated[str, Argument(metavar="IMAGES", help=console.DATA)],
    output: Annotated[Path, Argument(metavar="OUT", help=console.RESUMED)],
    pictures: console.Pictures = None,
    columns: console.Columns = None,
    shards: Annotated[int, Option(help="Number of shards per split.")] = 8,
    strict: console.Strict = False,
    json: console.Json = False,
) -> None:
    """Write images as TFRecord shards for training, and verify them."""
    from keras_inception import datasets
    from keras_inception.datasets.splits import Skipped, left_out
    from keras_inception.datasets.writing import check_shards

    check_shards(shards)
    datasets.recorded(images, root=pictures, columns=columns)
    stopping.when_stopped(lambda: f"{output} keeps the whole shards; the same command goes on")
    console.import_tensorflow()
    manifest = datasets.write_shards(
        images,
        output,
        root=pictures,
        columns=columns,
        shards=shards,
        strict=strict,
        on_scan=console.progress("Scanning images"),
        on_write=console.progress("Writing"),
        on_check=console.progress("Verifying"),
    )
    for line in left_out([Skipped(*each) for each in manifest["skipped"]]):
        typer.echo(line, err=True)
    if json:
        console.print_json({"output": str(output), **manifest})
        return
    for split in manifest["pictures"]:
        written = [entry for name, entry in manifest["files"].items() if name.startswith(f"{split}-")]
        count, size = (sum(entry[key] for entry in written) for key in ("pictures", "bytes"))
        typer.echo(f"{split}: {number(count, 'image')}, {size / 1e6:.1f} MB in {number(len(written), 'shard')}")
    typer.echo(f"Shards: {output}")


def demo(
    output: Annotated[Path, Option("--output", "-o", help=console.RESUMED)] = Path("demo"),
    minutes: Annotated[float | None, Option(min=0.01, help="Time limit for training.")] = None,
) -> None:
    """Train, export, verify and classify on the bundled images."""
    stopping.when_stopped(lambda: f"{output} keeps what is finished; the same command goes on")
    console.import_tensorflow()
    from keras_inception import demo as demonstration

    report = demonstration.run(output, minutes=minutes or demonstration.MINUTES, say=typer.echo, progress=bars())
    show_report(report)
    typer.echo(f"Report: {output / 'report.json'}")
