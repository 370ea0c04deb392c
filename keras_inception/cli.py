"""``keras-inception …``: argument parsing and printing only. What is heavy is imported by the commands that need it."""

import contextlib
import json as jsonlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from keras_inception.quiet import silenced, without_modules

if TYPE_CHECKING:
    from keras_inception.analysis import Cost
    from keras_inception.evaluation import Evaluation
    from keras_inception.weights.published import Published

app = typer.Typer(
    help="GoogLeNet, from a folder of pictures to a verified .tflite file.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

TEXT_COLUMNS = (
    "rewrite",
    "step",
    "file",
    "layer",
    "operation",
    "type",
    "class",
    "variant",
    "outside the delegate",
    "network",
    "ImageNet top-1 / top-5",
    "recipe",
    "about",
)
PICTURES = "A folder of class folders, or of train/, validation/ and test/ with such."
SOURCE = "A folder of pictures or of TFRecord shards, fashion_mnist, fashion_mnist:FOLDER or tfds:NAME."
RUN_OR_FILE = "A run directory, or a .tflite file."
TO_EVALUATE = "Pictures of its classes: of splits the test split; a run knows its own held-out ones."
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else on standard output.")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command. A user's mistake is one line on standard error and exit code 1 (2 for wrong usage)."""
    try:
        app(arguments, prog_name="keras-inception")
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except (ValueError, OSError, FloatingPointError) as error:
        if os.environ.get("KERAS_INCEPTION_TRACEBACK"):
            raise
        if isinstance(error, OSError) and error.filename is not None and error.strerror:
            _fail(f"{error.filename}: {error.strerror}", 1)
        _fail(str(error), 1)


@app.command()
def train(
    pictures: Annotated[str | None, typer.Argument(metavar="[PICTURES]", help=SOURCE)] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The run directory to make.")] = Path("run"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run at --output; give no PICTURES.")] = False,
    recipe: Annotated[
        str | None, typer.Option(help="A name that `keras-inception recipes` lists, or a JSON file; else default.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Of the recipe; can be given again.")
    ] = None,
    network: Annotated[str | None, typer.Option(help="A name that `keras-inception list` lists.")] = None,
    size: Annotated[int | None, typer.Option(help="Side of the network's input in pixels.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the pictures.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Of training at most: fewer epochs if need be.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pictures in a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The highest of the schedule.")] = None,
    auxiliary: Annotated[bool | None, typer.Option(help="Train with the auxiliary heads.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, float32, mixed_bfloat16 or mixed_float16.")] = None,
    tensorboard: Annotated[bool | None, typer.Option("--tensorboard", help="Log for TensorBoard.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order, augmentation and dropout.")] = None,
    distribute: Annotated[
        str | None, typer.Option(help="mirrored (the GPUs of this machine) or multiworker (many machines).")
    ] = None,
    workers: Annotated[
        str | None, typer.Option(metavar="HOST:PORT,...", help="Of multiworker; or TF_CONFIG in the environment says.")
    ] = None,
    worker_id: Annotated[int | None, typer.Option(help="Which of the workers this is, from 0.")] = None,
    validation: Annotated[
        float | None, typer.Option(help="Share cut out of train/ if there is no validation/; else 0.15.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="A picture that cannot be read is an error.")] = False,
) -> None:
    """Train a network on labelled pictures, GoogLeNet unless told otherwise."""
    changes = {
        "network": network,
        "size": size,
        "epochs": epochs,
        "minutes": minutes,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "auxiliary": auxiliary,
        "precision": precision,
        "tensorboard": tensorboard,
        "seed": seed,
    }
    changes = {name: value for name, value in changes.items() if value is not None}
    if resume and (pictures or changes or settings or recipe or validation is not None):
        raise ValueError(f"--resume takes the pictures and the recipe from {output}: give neither")
    if not resume and pictures is None:
        raise ValueError("PICTURES is missing: a folder of class folders to train on, or --resume to go on with a run")
    if not resume and not distribute and output.exists():  # of several workers, one may have made it already
        raise FileExistsError(f"{output} exists: go on with it by --resume, or name another folder by --output")
    from keras_inception import datasets, training
    from keras_inception.datasets.splits import check_share
    from keras_inception.runs import RECIPE, Run
    from keras_inception.training.distribution import open_distribution, prepare
    from keras_inception.weights.published import check_weights

    chosen = None
    if resume:
        datasets.located(Run(output).data["source"])
        training.Recipe.load(output / RECIPE).check_installed()
    else:
        chosen = training.named_recipe(recipe or "default").replace(**changes).override(_assignments(settings or []))
        chosen.check_installed()
        if chosen.weights is not None:
            check_weights(chosen.weights)
        check_share(0.15 if validation is None else validation)
    if pictures is not None:
        datasets.located(pictures)
    prepare(distribute)
    _import_tensorflow()
    with open_distribution(distribute, workers=workers, worker_id=worker_id) as distribution:
        run = training.train(
            pictures,
            output,
            recipe=chosen,
            resume=resume,
            validation=0.15 if validation is None else validation,
            strict=strict,
            distribution=distribution,
            on_scan=_progress("Looking at the pictures"),
        )
    typer.echo(f"Run: {run.path}")


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this one whole.")] = None,
) -> None:
    """How networks are trained: the recipes that come with the package, and what they reach.

    A recipe printed whole is a JSON file for `train --recipe FILE`.
    """
    from keras_inception.training import RECIPES, named_recipe

    if name:
        typer.echo(jsonlib.dumps(named_recipe(name).to_dict(), indent=2, ensure_ascii=False))
        return
    _table(["recipe", "network", "about"], [[key, recipe.network, recipe.about] for key, recipe in RECIPES.items()])
    typer.echo("Any field can be changed: keras-inception train PICTURES --recipe small --set label_smoothing=0.05")


@app.command()
def evaluate(
    source: Annotated[Path, typer.Argument(metavar="RUN|FILE.tflite", help=RUN_OR_FILE)],
    pictures: Annotated[str | None, typer.Argument(metavar="[DATA]", help=TO_EVALUATE)] = None,
    crops: Annotated[int, typer.Option(help="Views of each picture to average over: 1, 10, 12 or 144.")] = 1,
    ensemble: Annotated[
        list[Path] | None, typer.Option(metavar="RUN|FILE.tflite", help="Average with this too; can be given again.")
    ] = None,
    confusion: Annotated[Path | None, typer.Option(help="Draw the confusion matrix into this PNG.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="A picture that cannot be read is an error.")] = False,
    json: Json = False,
) -> None:
    """Top-1, top-5, calibration and a table by class, on labelled pictures."""
    from keras_inception import crops as cropping
    from keras_inception import datasets, files
    from keras_inception.classifier import check_classifier, open_classifier

    cropping.check(crops)
    sources = [source, *(ensemble or ())]
    for each in sources:
        check_classifier(each)
    if pictures is not None:
        datasets.located(pictures)
    elif not source.is_dir():
        raise ValueError(f"DATA is missing: {source} does not know where labelled pictures are")
    files.check_parent(confusion)
    _import_tensorflow()
    from keras_inception import evaluation, figures
    from keras_inception.datasets.splits import left_out

    classifiers = [open_classifier(each) for each in sources]
    labels = classifiers[0].labels
    cropping.check_labels(list(map(str, sources)), [each.labels for each in classifiers])
    labelled, skipped = _labelled_pictures(source, pictures, labels, strict)
    for line in left_out(skipped):
        typer.echo(line, err=True)
    show, done = _progress("Classifying"), 0

    def on_batch(count: int) -> None:
        nonlocal done
        done += count
        show(done, len(labelled))

    result = evaluation.evaluate(
        cropping.averaged(classifiers),
        cropping.view_batches(labelled, [each.preprocessing for each in classifiers], crops),
        labels,
        on_batch=on_batch,
    )
    if confusion:
        figures.confusion_picture(result, confusion)
    if json:
        report = {"models": list(map(str, sources)), "crops": crops, **result.to_dict()}
        typer.echo(jsonlib.dumps(report, ensure_ascii=False))
        return
    _show_evaluation(result)
    if crops > 1 or ensemble:
        typer.echo(f"Averaged over {_number(crops, 'crop')} of each picture and {_number(len(sources), 'network')}.")
    if confusion:
        typer.echo(f"Confusion picture: {confusion}")


@app.command()
def predict(
    source: Annotated[Path, typer.Argument(metavar="RUN|FILE.tflite", help=RUN_OR_FILE)],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Pictures to classify.")],
    top: Annotated[int, typer.Option(min=1, help="Classes to name for each.")] = 5,
    json: Json = False,
) -> None:
    """The likeliest classes of pictures."""
    from keras_inception import datasets
    from keras_inception.classifier import check_classifier, open_classifier

    pictures = [datasets.read_picture(path) for path in images]
    check_classifier(source)
    if source.is_dir():
        _import_tensorflow()
    from keras_inception.evaluation import top_k

    classifier = open_classifier(source)
    results = []
    for path, picture in zip(images, pictures, strict=True):
        probabilities = classifier.predict(classifier.preprocessing.fit(picture)[None])[0]
        best = [(classifier.labels[index], float(probabilities[index])) for index in top_k(probabilities, top)]
        results.append({"path": str(path), "top": [{"label": name, "probability": p} for name, p in best]})
        if not json:
            typer.echo(f"{path}: " + ", ".join(f"{name} {p:.1%}" for name, p in best))
    if json:
        typer.echo(jsonlib.dumps(results, ensure_ascii=False))


@app.command()
def export(
    source: Annotated[Path | None, typer.Argument(metavar="[RUN|FILE.keras]", help="What to export.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write into.")] = Path("exported"),
    quantize: Annotated[
        str | None, typer.Option(help="Some of float32,float16,dynamic,int8; else all that can be had.")
    ] = None,
    rewrites: Annotated[
        str | None, typer.Option(help="Of the graph, by commas, or none; else what pays. `rewrites` lists them.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Files are named NAME_VARIANT.tflite.")] = None,
    model: Annotated[str | None, typer.Option(help="In place of SOURCE: a network by name (GoogLeNet) …")] = None,
    weights: Annotated[Path | None, typer.Option(help="… and the file of its weights.")] = None,
    classes: Annotated[int, typer.Option(help="Number of classes of --weights.")] = 1000,
    labels: Annotated[Path | None, typer.Option(help="A file of one label a line. A run has its own.")] = None,
    preprocessing: Annotated[str | None, typer.Option(help="By name or a JSON file. A run has its own.")] = None,
    calibration: Annotated[Path | None, typer.Option(help="Pictures to calibrate int8 on. A run has its own.")] = None,
    test: Annotated[Path | None, typer.Option(help="Labelled pictures to verify on. A run has its own.")] = None,
    description: Annotated[str | None, typer.Option(help="For the metadata.")] = None,
    author: Annotated[str | None, typer.Option(help="For the metadata.")] = None,
    licence: Annotated[str | None, typer.Option("--license", "--licence", help="For the metadata.")] = None,
    min_agreement: Annotated[
        float | None, typer.Option(help="Least top-1 agreement with Keras, 0 to 1; 0 switches the gate off.")
    ] = None,
    verify_pictures: Annotated[
        str, typer.Option(metavar="N|all", help="Number of held-out pictures to verify on.")
    ] = "500",
    keep_float: Annotated[
        list[str] | None,
        typer.Option("--keep-float", metavar="LAYER", help="That int8 leaves in float32; can be given again."),
    ] = None,
    layer_errors: Annotated[
        bool, typer.Option("--layer-errors", help="Which layers of int8 lose most, and layer_errors.json of all.")
    ] = False,
    client: Annotated[
        str | None,
        typer.Option(help="That must take the files: task-library,mediapipe,litert-web, or none; else as installed."),
    ] = None,
    litert_sample: Annotated[
        bool, typer.Option("--litert-sample", help="In the shape of Google's LiteRT sample: 224×224, float32.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an export of the same name.")] = False,
    json: Json = False,
) -> None:
    """Export to .tflite files, each verified before it gets its name."""
    if weights is not None and model is None:
        raise ValueError("--weights goes with --model")
    if (source is None) == (model is None):
        raise ValueError("name either a run directory or .keras file, or a network by --model")
    from keras_inception import mobile, registry
    from keras_inception.mobile.exporter import check_export
    from keras_inception.progress import bars
    from keras_inception.weights.published import check_weights

    options: dict[str, Any] = {
        "quantize": _parts(quantize),
        "rewrites": () if rewrites == "none" else _parts(rewrites),
        "name": name,
        "labels": labels,
        "preprocessing": preprocessing,
        "calibration": calibration,
        "test": test,
        "min_agreement": min_agreement,
        "verify_pictures": _count_or_all("--verify-pictures", verify_pictures),
        "keep_float": keep_float or (),
        "layer_errors": layer_errors,
        "clients": () if client == "none" else _parts(client),
        "overwrite": overwrite,
    }
    check_export(source, output, **options)
    network = None if model is None else registry.resolve(model)
    if weights is not None:
        check_weights(str(weights))
    _import_tensorflow()
    report = mobile.export(
        source if network is None else registry.create(network, weights=weights, classes=classes),
        output,
        **options,
        litert_sample=litert_sample,
        description=description,
        author=author,
        licence=licence,
        on_step=lambda step: typer.echo(step, err=json),
        on_progress=bars(),
    )
    if layer_errors and not json:
        _show_layer_errors(output)
    _show_report(report, json)
    typer.echo(f"Exported: {output}", err=json)


@app.command()
def compress(
    source: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="A run directory.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The run directory to make.")] = Path("compressed"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what is at --output; give no RUN.")] = False,
    macs: Annotated[
        float | None, typer.Option(help="Slim it to so many multiply-adds: a number, or up to 1 a share.")
    ] = None,
    latency: Annotated[
        float | None, typer.Option(help="Slim it until the int8 file is so fast: milliseconds, or up to 1 a share.")
    ] = None,
    mb: Annotated[
        float | None, typer.Option(help="Slim it until the int8 file is so small: megabytes, or up to 1 a share.")
    ] = None,
    criterion: Annotated[str, typer.Option(help="What ranks filters: taylor, l1 or batch_norm_scale.")] = "taylor",
    prune: Annotated[str | None, typer.Option(help="Share of weights that become zero, or 2:4.")] = None,
    prune_schedule: Annotated[str, typer.Option(help="polynomial, or constant: all at once.")] = "polynomial",
    prune_layers: Annotated[
        list[str] | None, typer.Option("--prune-layer", metavar="LAYER", help="Prune it alone; can be repeated.")
    ] = None,
    cluster: Annotated[int | None, typer.Option(help="Values that the weights of a layer may have.")] = None,
    quantize: Annotated[bool, typer.Option("--quantize", help="Train for int8.")] = False,
    distillation: Annotated[float, typer.Option(help="Share that RUN's own answers have in what is taught.")] = 0.5,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Of each step's recipe; can be repeated.")
    ] = None,
    json: Json = False,
) -> None:
    """Make a trained network smaller and faster, and see what each step costs: slim, prune, cluster, quantize.

    The result is a run directory like any other.
    """
    asked = macs or latency or mb or prune or cluster or quantize
    if resume and (source or asked or settings):
        raise ValueError(f"--resume takes the run and what is to be done from {output}: give neither")
    if not resume and source is None:
        raise ValueError("RUN is missing: a run directory to compress, or --resume to go on")
    from keras_inception.mobile.job import Job, check_compression
    from keras_inception.progress import bars

    job = None
    if not resume:
        share = prune if prune in (None, "2:4") else _share("--prune", prune)
        job = Job(macs, latency, mb, criterion, share, prune_schedule, prune_layers or None, cluster, quantize)
    assigned = _assignments(settings or [])
    check_compression(source, output, job, settings=assigned, distillation=distillation, resume=resume)
    _import_tensorflow()
    from keras_inception.mobile import compression

    rows = compression.compress(
        source,
        output,
        job,
        settings=assigned,
        distillation=distillation,
        resume=resume,
        on_step=lambda step: typer.echo(step, err=json),
        on_progress=bars(),
    )
    if json:
        typer.echo(jsonlib.dumps(rows, ensure_ascii=False))
        return
    _table(
        ["step", "MACs", "parameters", "MB", "gzip MB", "zeros", "top-1", "latency ms", "ratio"],
        [
            [
                row["step"],
                f"{row['macs'] / 1e6:.0f} M",
                f"{row['parameters'] / 1e6:.2f} M",
                f"{row['mb']:.2f}",
                f"{row['gzip_mb']:.2f}",
                f"{row['sparsity']:.0%}",
                "–" if row["top1"] is None else f"{row['top1']:.1%}",
                f"{row['latency_ms']:.1f}",
                f"{row['ratio']:.2f}",
            ]
            for row in rows
        ],
    )
    typer.echo(f"All of the int8 files. Run: {output}")


@app.command("rewrites")
def list_rewrites() -> None:
    """What `export` does to a network's graph for the sake of speed; its numbers stay the same."""
    from keras_inception.mobile.rewrites import ONLY_FOR_INT8, REWRITES

    rows = []
    for name, function in REWRITES.items():
        variants = "int8" if name in ONLY_FOR_INT8 else "all"
        rows.append([name, variants, (function.__doc__ or "").split("\n")[0]])
    _table(["rewrite", "variants", "about"], rows)


@app.command()
def benchmark(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE.tflite...", help="The first is compared with.")],
    threads: Annotated[int, typer.Option(help="Of each interpreter.")] = 1,
    runs: Annotated[int, typer.Option(help="Of each file that are counted.")] = 50,
    peak: Annotated[
        bool, typer.Option("--peak/--no-peak", help="Measure the machine's peak too, in half a minute.")
    ] = True,
    json: Json = False,
) -> None:
    """How fast .tflite files are, by turns: nothing else should run on the machine."""
    from keras_inception.mobile.benchmark import benchmark as measure
    from keras_inception.mobile.classifier import interpreter

    for path in paths:
        interpreter(path)
    if peak:
        _import_tensorflow()
    rows = measure(paths, threads=threads, runs=runs, peak=peak, on_round=_progress("Rounds"))
    if json:
        typer.echo(jsonlib.dumps(rows, ensure_ascii=False))
        return
    columns = ["file", "MB", "MACs", "load ms", "memory MB", "median ms", "p10", "p90", "ratio"]
    _table(
        [*columns, *(["of peak"] if peak else [])],
        [
            [
                row["path"],
                f"{row['mb']:.2f}",
                f"{row['macs'] / 1e6:.0f} M",
                f"{row['load_ms']:.0f}",
                f"{row['memory_mb']:.0f}",
                *(f"{row[name]:.2f}" for name in ("median_ms", "p10_ms", "p90_ms", "ratio")),
                *([f"{row['share_of_peak']:.0%}"] if peak else []),
            ]
            for row in rows
        ],
    )


@app.command()
def page(
    exported: Annotated[Path, typer.Argument(metavar="EXPORTED", help="A folder that `export` wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to make.")] = Path("site"),
    serve: Annotated[bool, typer.Option("--serve", help="Serve it to this machine, with threads.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="To serve it at; 0 is any that is free.")] = 8000,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a site that is there.")] = False,
) -> None:
    """A web page that runs the files in the browser, offline; any static server can serve it."""
    from keras_inception.mobile import page as pages

    site = pages.page(exported, output, overwrite=overwrite)
    typer.echo(f"Site: {output} ({', '.join(site['variants'])})")
    if serve:
        with pages.server(output, port) as server, contextlib.suppress(KeyboardInterrupt):
            typer.echo(f"http://localhost:{server.server_port} (Ctrl-C ends it)")
            server.serve_forever()


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder.")] = Path("demo"),
    minutes: Annotated[float | None, typer.Option(help="Of training at most.")] = None,
) -> None:
    """The whole line on the bundled pictures: train, evaluate, export, verify, classify."""
    _import_tensorflow()
    from keras_inception import demo as demonstration
    from keras_inception.progress import bars

    report = demonstration.run(output, minutes=minutes or demonstration.MINUTES, say=typer.echo, progress=bars())
    _show_report(report, json=False)
    typer.echo(f"Report: {output / 'report.json'}")


@app.command("list")
def list_networks(json: Json = False) -> None:
    """The networks, what they cost, and what their published weights reach."""
    from keras_inception import registry
    from keras_inception.weights import published

    if json:
        networks = [
            {
                "name": name,
                "input": [figures.size, figures.size, 3],
                "parameters": figures.parameters,
                "macs": figures.macs,
                "weights": [
                    {key: value for key, value in entry._asdict().items() if key not in ("network", "preprocessing")}
                    for entry in published.of(name)
                ],
            }
            for name, figures in registry.FIGURES.items()
        ]
        typer.echo(jsonlib.dumps(networks, ensure_ascii=False))
        return
    rows = [
        [
            name,
            str(figures.size),
            f"{figures.parameters / 1e6:.2f} M",
            f"{figures.macs / 1e9:.2f} G",
            "\n".join(map(_accuracy, published.of(name))) or "none published",
        ]
        for name, figures in registry.FIGURES.items()
    ]
    _table(["network", "input", "parameters", "MACs", "ImageNet top-1 / top-5"], rows)
    typer.echo("Build one by keras_inception.create(NAME, weights=…): None, imagenet, imagenet:WEIGHTS or a file.")
    typer.echo("Weights marked * could not be checked against an installed package: imagenet does not choose them.")


@app.command()
def cost(
    model: Annotated[str, typer.Argument(metavar="NETWORK|RUN|FILE.keras", help="A network's name, or a path.")],
    size: Annotated[int | None, typer.Option(min=1, help="Side of the input in pixels.")] = None,
    classes: Annotated[int | None, typer.Option(help="Number of classes of a network by name.")] = None,
    budget: Annotated[
        float | None, typer.Option(help="Multiply-adds, such as 1.5e9; a network that takes more is exit code 1.")
    ] = None,
    by: Annotated[str, typer.Option(help="One line for each of the layers, modules or stages.")] = "modules",
    plot: Annotated[Path | None, typer.Option(help="Draw the modules into this PNG.")] = None,
    json: Json = False,
) -> None:
    """Parameters, multiply-adds and memory, and whether a budget holds.

    With --budget the exit code is 1 if the network takes more multiply-adds.
    """
    from keras_inception import files

    if by not in (allowed := ("layers", "modules", "stages")):
        raise ValueError(f"`by` must be one of {', '.join(allowed)}. Received: {by!r}")
    files.check_parent(plot)
    result = _cost(model, size, classes)
    kept = None if budget is None else result.within(budget)
    table = result.table(by)
    if plot:
        result.plot(plot)
    if json:
        report = {**result.to_dict(), "budget": None if kept is None else kept.to_dict()}
        typer.echo(jsonlib.dumps(report, ensure_ascii=False))
    else:
        typer.echo(table if kept is None else f"{table}\n{kept}")
        if plot:
            typer.echo(f"Plot: {plot}")
    if kept is not None and not kept:
        raise SystemExit(1)


@app.command()
def shard(
    pictures: Annotated[str, typer.Argument(metavar="PICTURES", help=SOURCE)],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write into. One begun is gone on with.")],
    shards: Annotated[int, typer.Option(help="Their number for each split.")] = 8,
    strict: Annotated[bool, typer.Option("--strict", help="A picture that cannot be read is an error.")] = False,
    json: Json = False,
) -> None:
    """Write pictures as TFRecord shards to train from, verified in the end."""
    from keras_inception import datasets
    from keras_inception.datasets.splits import Skipped, left_out
    from keras_inception.datasets.writing import check_shards

    check_shards(shards)
    datasets.located(pictures)
    _import_tensorflow()
    manifest = datasets.write_shards(
        pictures,
        output,
        shards=shards,
        strict=strict,
        on_scan=_progress("Looking at the pictures"),
        on_write=_progress("Writing"),
        on_check=_progress("Reading back"),
    )
    for line in left_out([Skipped(*each) for each in manifest["skipped"]]):
        typer.echo(line, err=True)
    if json:
        typer.echo(jsonlib.dumps({"output": str(output), **manifest}, ensure_ascii=False))
        return
    for split in manifest["pictures"]:
        written = [entry for name, entry in manifest["files"].items() if name.startswith(f"{split}-")]
        count, size = (sum(entry[key] for entry in written) for key in ("pictures", "bytes"))
        typer.echo(f"{split}: {_number(count, 'picture')}, {size / 1e6:.1f} MB in {_number(len(written), 'shard')}")
    typer.echo(f"Shards: {output}")


@app.command("convert-weights")
def convert_weights(
    source: Annotated[str, typer.Argument(metavar="IN", help="A file of weights, a run directory, or imagenet.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="A .keras or .safetensors file to write.")],
    model: Annotated[str | None, typer.Option(help="The network, if its tensors' names do not tell.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
    json: Json = False,
) -> None:
    """Write anybody's weights as a .keras file, or as a .safetensors file for weights=."""
    from keras_inception import registry
    from keras_inception.weights.targets import check_conversion

    check_conversion(source, target, overwrite=overwrite)
    if model is not None:
        registry.resolve(model)
    _import_tensorflow()
    from keras_inception import weights

    converted = weights.convert(source, target, model=model, overwrite=overwrite)
    preprocessing = jsonlib.loads(converted.preprocessing.to_json())
    if json:
        result = {**converted._asdict(), "path": str(target), "preprocessing": preprocessing}
        typer.echo(jsonlib.dumps(result, ensure_ascii=False))
        return
    classes = "no classifier" if converted.classes is None else f"{converted.classes} classes"
    typer.echo(f"{converted.network} of {converted.publisher}: {converted.tensors} tensors, {classes}")
    typer.echo(f"Preprocessing: {jsonlib.dumps(preprocessing)}")
    typer.echo(f"Written: {target}")


def _assignments(settings: Sequence[str]) -> dict[str, str]:
    """``FIELD=VALUE`` as pairs."""
    for setting in settings:
        if "=" not in setting:
            raise ValueError(f"--set takes FIELD=VALUE. Received: {setting}")
    return dict(setting.split("=", 1) for setting in settings)


def _accuracy(entry: "Published") -> str:
    """One row of published weights, in per cent."""
    top5 = "–" if entry.top5 is None else f"{entry.top5:.1f}"
    return f"{entry.publisher} {entry.top1:.1f} / {top5}{'' if entry.verified else ' *'}"


def _cost(model: str, size: int | None, classes: int | None) -> "Cost":
    """What a network by name, a run's or a file's costs. What is there as a path goes before a name."""
    from keras_inception import registry, runs

    path = Path(model)
    is_path = path.exists() or path.suffix == ".keras" or path.name != model
    if is_path and not path.exists():
        raise FileNotFoundError(f"there is no run directory or .keras file at {model}")
    if is_path and classes is not None:
        raise ValueError(f"--classes goes with the name of a network, and {model} is there as a path")
    shape = None if size is None else (size, size, 3)
    name = model if is_path else registry.resolve(model)
    _import_tensorflow()
    import keras

    from keras_inception import analysis

    if is_path:
        return analysis.cost(runs.load(path), input_shape=shape)
    options = {"classes": classes, "input_shape": shape}
    with keras.StatelessScope(initialize_variables=False):  # only the shapes: VGG-19's weights are 575 MB
        network = registry.create(name, **{key: value for key, value in options.items() if value is not None})
    return analysis.cost(network)


def _show_evaluation(result: "Evaluation") -> None:
    rows = [
        [row.label, str(row.pictures), *("–" if share is None else f"{share:.1%}" for share in row[2:])]
        for row in result.per_class
    ]
    _table(["class", "pictures", "top-1", "precision", "F1"], rows)
    low, high = result.top1_interval
    typer.echo(
        f"{result.count} pictures: top-1 {result.top1:.1%} (95 % interval {low:.1%} to {high:.1%}), "
        f"top-5 {result.top5:.1%}, loss {result.loss:.3f}, calibration error {result.calibration_error:.1%}"
    )


def _show_report(report: dict, json: bool) -> None:
    """Print an export's report; exit with 1 if a variant was refused."""
    from keras_inception.mobile.companions import with_interval

    if json:
        typer.echo(jsonlib.dumps(report, ensure_ascii=False))
    else:
        kept = {variant: row for variant, row in report["variants"].items() if "refused" not in row}
        rows = [
            [
                variant,
                f"{row['mb']:.2f}",
                with_interval(row, "top1"),
                with_interval(row, "agreement"),
                f"{row['latency_ms']:.1f}",
                ", ".join(row["outside_delegate"]) or "none",
            ]
            for variant, row in kept.items()
        ]
        _table(["variant", "MB", "top-1", "agreement", "latency ms", "outside the delegate"], rows)
        if report["top1"] is not None:
            typer.echo(f"Keras, with which they agree: top-1 {report['top1']:.1%}, top-5 {report['top5']:.1%}")
        measured = _number(report["pictures"], "picture") if report["pictures"] else "noise, for lack of pictures"
        typer.echo(f"Measured on {measured}; in parentheses 95 % intervals.")
    refused = {variant: row["refused"] for variant, row in report["variants"].items() if "refused" in row}
    if refused:
        _fail("\n".join(f"{variant} was not exported: {reason}" for variant, reason in refused.items()), 1)


def _show_layer_errors(folder: Path) -> None:
    """The ten operations of an export's int8 file that lose most by themselves."""
    from keras_inception.mobile.exporter import LAYER_ERRORS

    path = folder / LAYER_ERRORS
    if not path.exists():  # there is no int8 file that runs
        return
    worst = sorted(jsonlib.loads(path.read_text(encoding="utf-8")), key=lambda row: row["own_error"], reverse=True)[:10]
    rows = [
        [
            row["layer"],
            row["operation"],
            row["type"],
            f"{row['own_error']:.1%}",
            f"{row['error']:.1%}",
            "–" if row["sqnr_db"] is None else f"{row['sqnr_db']:.1f}",
        ]
        for row in worst
    ]
    _table(["layer", "operation", "type", "own error", "error so far", "SQNR dB"], rows)
    typer.echo(f"Against float32; all layers: {path}")


def _labelled_pictures(source: Path, pictures: str | None, labels: tuple[str, ...], strict: bool):
    """The pictures to evaluate on: those given, else the held-out ones of a run."""
    from keras_inception import datasets
    from keras_inception.runs import Run

    scan = _progress("Looking at the pictures")
    if pictures is not None:
        return datasets.open_labelled(pictures, labels, strict=strict, progress=scan)
    run = Run(source)
    splits = datasets.open_data(**run.data, labels=labels, strict=strict, progress=scan)
    if not splits.test and run.fingerprint.get("validation") not in (None, splits.validation.fingerprint()):
        typer.echo(
            f"{run.data['source']} has changed since {source} began: it may be tested on what it has seen", err=True
        )
    return splits.test or splits.validation, splits.skipped


def _parts(text: str | None) -> tuple[str, ...] | None:
    """What stands between commas."""
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


def _count_or_all(option: str, text: str) -> int | Literal["all"]:
    if text == "all":
        return "all"
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{option} must be a number or all. Received: {text!r}") from None


def _share(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{option} must be a number. Received: {text!r}") from None


def _number(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise SystemExit(code)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        is_text = column in TEXT_COLUMNS
        table.add_column(column, justify="left" if is_text else "right", no_wrap=not is_text)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _progress(what: str) -> Callable[[int, int], None]:
    """Return a function that shows a bar, given what is done and how much there is."""
    from keras_inception.progress import bars

    show = bars()
    return lambda done, total: show(what, done, total)


def _import_tensorflow() -> None:
    """Import TensorFlow and Keras without the lines that they print, nor what they load and is not used here."""
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    unused = ["matplotlib"] if os.environ.get("KERAS_BACKEND") == "jax" else ["jax", "matplotlib"]  # 2 of 6 seconds
    with silenced(), without_modules(unused):
        import keras  # noqa: F401
        import tensorflow as tf

        tf.config.list_physical_devices()


@app.callback()
def _warn_of_slow_protobuf() -> None:
    from google.protobuf.internal import api_implementation

    if api_implementation.Type() == "python":
        typer.echo(
            "warning: this protobuf is pure Python, with which TensorFlow starts three times slower: "
            'pip install "protobuf>=5.29.5,<6"',
            err=True,
        )


if __name__ == "__main__":
    main()
