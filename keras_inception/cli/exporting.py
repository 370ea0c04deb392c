"""Commands that make and measure .tflite files: export, compress, rewrites, benchmark and page."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from keras_inception import registry
from keras_inception.cli import console, stopping
from keras_inception.utils import files, tables
from keras_inception.utils.progress import bars

if TYPE_CHECKING:
    from keras_inception.exporting.report import ExportReport

BUDGET = "Prune filters down to this many {}, or to this share if at most 1."
Size = Annotated[str | None, Option(metavar="HEIGHTxWIDTH", help="Size of the images. Default: the network's.")]


def export(
    context: typer.Context,
    source: Annotated[
        Path | None, Argument(metavar="RUN|MODEL", help="A run directory, .keras or .h5 file, or SavedModel folder.")
    ] = None,
    output: Annotated[Path, Option("--output", "-o", help="Output folder.")] = Path("exported"),
    quantize: Annotated[str | None, Option(help="Some of float32,float16,dynamic,int8. Default: all possible.")] = None,
    rewrites: Annotated[str | None, Option(help="Comma-separated rewrites, or none. Default: those that help.")] = None,
    name: Annotated[str | None, Option(help="Prefix of the file names, NAME_VARIANT.tflite.")] = None,
    model: Annotated[str | None, Option(help="Name of a network to export instead of a run or file.")] = None,
    weights: Annotated[Path | None, Option(help="Weights file for --model.")] = None,
    classes: Annotated[int, Option(help="Number of classes of --model.")] = 1000,
    labels: Annotated[Path | None, Option(help="File with one class name per line. Default: the run's.")] = None,
    preprocessing: Annotated[str | None, Option(help="Name or JSON file. Default: the run's.")] = None,
    size: Size = None,
    output_name: Annotated[str | None, Option(help="Output to export. Default: the only one, or predictions.")] = None,
    calibration: Annotated[
        Path | None, Option(help="Folder or .npy file of images for int8. Default: the run's training images.")
    ] = None,
    test: Annotated[Path | None, Option(help="Images to verify with. Default: the run's held-out images.")] = None,
    description: Annotated[str | None, Option(help="Description for the metadata.")] = None,
    author: Annotated[str | None, Option(help="Author for the metadata.")] = None,
    licence: Annotated[str | None, Option("--license", "--licence", help="License for the metadata.")] = None,
    min_agreement: Annotated[
        float | None, Option(help="Minimum top-1 agreement with Keras; 0 disables the check. Default: set by variant.")
    ] = None,
    verify_pictures: Annotated[str, Option(metavar="N|all", help="Number of images to verify with.")] = "500",
    keep_float: Annotated[list[str] | None, Option(metavar="LAYER", help="Layer to keep float32. Repeatable.")] = None,
    layer_errors: Annotated[bool, Option("--layer-errors", help="Measure the error of each int8 layer.")] = False,
    client: Annotated[
        str | None,
        Option(help="Require task-library,mediapipe,litert-web,arm64,litert-gpu,kotlin, or none. Default: fast ones."),
    ] = None,
    int8_input: Annotated[str, Option(help="Input of the int8 file: uint8, int8 or float32.")] = "uint8",
    int8_output: Annotated[
        str, Option(help="Its output: uint8, int8, or float32, which avoids ties between thousands of classes.")
    ] = "uint8",
    litert_sample: Annotated[bool, Option("--litert-sample", help="Export for Google's LiteRT sample app.")] = False,
    half_precision: Annotated[
        bool, Option(help="Let phones compute the float16 file in 16 bits if its answers stay.")
    ] = True,
    not_sure: Annotated[
        float | None, Option(metavar="PROBABILITY", help="Below it, apps and the page say that they are not sure.")
    ] = None,
    runtime: Annotated[str | None, Option(help="Release of TensorFlow Lite that must run the files: 2.8.")] = None,
    custom_objects: console.CustomObjects = None,
    overwrite: console.Overwrite = False,
    json: console.Json = False,
) -> None:
    """Export a network to verified .tflite files."""
    if weights is not None and model is None:
        raise ValueError("--weights requires --model")
    if (source is None) == (model is None):
        raise ValueError("name either a run directory or a model file, or a network by --model")
    import keras_inception
    from keras_inception.exporting.options import ExportOptions
    from keras_inception.weights.publishers import check_weights

    options = {
        **console.fields_of(ExportOptions, context),
        "quantize": _parts(quantize),
        "size": _size(size),
        "rewrites": () if rewrites == "none" else _parts(rewrites),
        "verify_pictures": _number_or("all", "--verify-pictures", verify_pictures, int),
        "keep_float": keep_float or (),
        "clients": () if client == "none" else _parts(client),
    }
    ExportOptions(**options).check(source, output)
    stopping.when_stopped(lambda: f"the export is not complete; run it again{_overwriting(output)}")
    network = model and registry.resolve(model)
    if weights is not None:
        check_weights(weights)
    console.import_tensorflow()
    exported = registry.create(network, weights=weights, classes=classes) if network else source
    report = keras_inception.export(exported, output, **options, on_step=_steps(json), on_progress=bars())
    if layer_errors and not json:
        _show_layer_errors(output)
    show_report(report, json)
    typer.echo(f"Exported: {output}", err=json)


def compress(
    source: Annotated[Path | None, Argument(metavar="RUN|MODEL", help="A run directory, .keras or .h5 file.")] = None,
    output: Annotated[Path, Option("--output", "-o", help="Run directory to create.")] = Path("compressed"),
    resume: console.Resume = False,
    data: Annotated[
        str | None, Option(help=f"Images for a model file, or that were moved, to resume. {console.DATA}")
    ] = None,
    pictures: console.Pictures = None,
    columns: console.Columns = None,
    labels: Annotated[Path | None, Option(help="File with one class name per line. Default: sorted folders.")] = None,
    preprocessing: Annotated[str | None, Option(help="Name or JSON file. Default: found in the model.")] = None,
    validation: Annotated[float, Option(help="Share of --data to hold out if it has no validation split.")] = 0.15,
    size: Size = None,
    output_name: Annotated[str | None, Option(help="Output to keep. Default: the only one, or predictions.")] = None,
    macs: Annotated[float | None, Option(help=BUDGET.format("multiply-adds"))] = None,
    latency: Annotated[float | None, Option(help=BUDGET.format("milliseconds of the int8 file"))] = None,
    mb: Annotated[float | None, Option(help=BUDGET.format("megabytes of the int8 file"))] = None,
    criterion: Annotated[str, Option(help="Filter importance: taylor, l1 or batch_norm_scale.")] = "taylor",
    prune: Annotated[str | None, Option(help="Share of weights to set to zero, or 2:4.")] = None,
    prune_schedule: Annotated[str, Option(help="polynomial (gradual) or constant (all at once).")] = "polynomial",
    prune_layers: Annotated[
        list[str] | None, Option("--prune-layer", metavar="LAYER", help="Prune only this layer. Repeatable.")
    ] = None,
    cluster: Annotated[int | None, Option(help="Number of distinct weight values per layer.")] = None,
    quantize: Annotated[bool, Option("--quantize", help="Quantization-aware training for int8.")] = False,
    distillation: Annotated[float, Option(help="Weight of the teacher's predictions in the target, 0 to 1.")] = 0.5,
    settings: console.Settings = None,
    custom_objects: console.CustomObjects = None,
    json: console.Json = False,
) -> None:
    """Make a trained network smaller and faster by pruning, clustering and quantization.

    The network is that of a run, or any functional classifier in a model file, with its images as --data. The result
    is a run directory. A table shows what each step costs and saves.
    """
    if resume and (source or settings or macs or latency or mb or prune or cluster or quantize):
        raise ValueError(
            f"--resume takes the run and the steps from {output}: give neither, only --data if the images were moved"
        )
    if not resume and source is None:
        raise ValueError("RUN is missing: give a run directory or a model file to compress, or --resume")
    from keras_inception.compression.job import Job, check_compression, kept_so_far
    from keras_inception.compression.own import OwnModel
    from keras_inception.model_files import check_custom_objects

    job = None
    if not resume:
        share = prune and _number_or("2:4", "--prune", prune, float)
        job = Job(macs, latency, mb, criterion, share, prune_schedule, prune_layers or None, cluster, quantize)
    changes = console.assignments(settings)
    options: dict[str, Any] = {"settings": changes, "distillation": distillation, "resume": resume}
    check_custom_objects(custom_objects)
    own: dict[str, Any] = {"root": pictures, "columns": columns}
    own |= {"labels": labels, "preprocessing": preprocessing, "size": _size(size), "output_name": output_name}
    check_compression(source, output, job, OwnModel.given(data, validation, **own), **options)
    given_again = () if custom_objects is None else ("--custom-objects", custom_objects)
    stopping.when_resumable(lambda: kept_so_far(output), "compress", "--resume", "--output", output, *given_again)
    console.import_tensorflow()
    from keras_inception.compression import compress as compression

    options |= {"data": data, "validation": validation, **own}
    options |= {"custom_objects": custom_objects, "on_step": _steps(json), "on_progress": bars()}
    report = compression.compress(source, output, job, **options)
    console.show(report, json)
    if not json:
        typer.echo(f"Sizes, top-1 and latency are those of the int8 files. Run: {output}")


def rewrites() -> None:
    """List the graph rewrites of `export`, which speed up a network without changing its outputs."""
    from keras_inception.exporting.rewrites import REWRITES
    from keras_inception.exporting.variants import VARIANTS

    rows = []
    for name, function in REWRITES.items():
        variants = [variant.name for variant in VARIANTS.values() if name in variant.rewrites]
        some = variants if len(variants) < len(VARIANTS) else "all"
        rows.append({"rewrite": name, "variants": some, "about": (function.__doc__ or "").split("\n")[0]})
    typer.echo(tables.text(tables.columns("rewrite", "variants", "about"), rows))


def benchmark(
    paths: Annotated[list[Path], Argument(metavar="FILE.tflite...", help="Files to time. Ratios are to the first.")],
    accelerator: Annotated[
        str,
        Option(
            metavar="NAME,...", help="Some of cpu, fp16 (the CPU in forced half precision) and gpu (LiteRT's WebGPU)."
        ),
    ] = "cpu",
    threads: Annotated[int, Option(help="Threads per interpreter.")] = 1,
    runs: Annotated[int, Option(help="Timed inferences per file.")] = 50,
    peak: Annotated[bool, Option(help="Also measure the machine's peak, in half a minute.")] = True,
    json: console.Json = False,
) -> None:
    """Time .tflite files in alternation.

    For reliable results, nothing else should run on the machine.
    """
    from keras_inception.tflite.benchmark import CPU, check_options, check_runs
    from keras_inception.tflite.benchmark import benchmark as measure

    accelerators = _parts(accelerator) or ()
    check_options(threads, runs, accelerators)
    of_file = ["mb", "macs", "load_ms", "memory_mb"] if accelerators == (CPU,) else ["accelerator", "mb", "load_ms"]
    columns = ["path", *of_file, "median_ms", "p10_ms", "p90_ms", "ratio"]
    with files.temporary_folder() as folder:
        peaks = []
        if peak and CPU in accelerators:
            for path in paths:
                check_runs(path)
            console.import_tensorflow()
            from keras_inception.exporting.noise import write_peaks

            peaks = write_peaks(folder)
            columns.append("share_of_peak")
        options: dict[str, Any] = {"threads": threads, "runs": runs, "accelerators": accelerators, "peaks": peaks}
        rows = measure(paths, **options, on_round=console.progress("Timing"))
    if json:
        console.print_json(rows)
    else:
        typer.echo(tables.text(tables.columns(*columns), [_with_error(row) for row in rows]))
        for name, device in dict.fromkeys((row["accelerator"], row["device"]) for row in rows if row["device"]):
            typer.echo(f"{name}: {device}")
    if failed := [f"{row['path']} on {row['accelerator']}: {row['error']}" for row in rows if row["error"]]:
        console.fail("\n".join(failed))


def page(
    exported: Annotated[Path, Argument(metavar="EXPORTED", help="Output folder of `keras-inception export`.")],
    output: Annotated[Path, Option("--output", "-o", help="Folder to create.")] = Path("site"),
    serve: Annotated[bool, Option("--serve", help="Serve the page on this machine, with threads enabled.")] = False,
    port: Annotated[int, Option(min=0, max=65535, help="Port for --serve; 0 picks a free one.")] = 8000,
    overwrite: console.Overwrite = False,
) -> None:
    """Make a web page that classifies images offline.

    The page runs exported files in the browser. Any static web server can serve it.
    """
    from keras_inception.page import site as pages

    site = pages.page(exported, output, overwrite=overwrite)
    typer.echo(f"Site: {output} ({', '.join(site['variants'])})")
    if serve:
        stopping.raise_on_interrupt()
        with pages.server(output, port) as server, contextlib.suppress(KeyboardInterrupt):
            typer.echo(f"http://localhost:{server.server_port} (Ctrl-C stops it)")
            server.serve_forever()


def show_report(report: "ExportReport", json: bool = False) -> None:
    """Print the report of an export; exit with code 1 if a variant was refused."""
    if json:
        console.print_json(report.to_dict())
    else:
        typer.echo(report.table)
    if report.refused:
        console.fail("\n".join(f"{name} was not exported: {reason}" for name, reason in report.refused.items()))


def _with_error(row: dict) -> dict:
    """Return a row of `benchmark` that says if there is no time."""
    return {**row, "median_ms": "not run"} if row["error"] else row


def _overwriting(output: Path) -> str:
    """Return how to replace the files that an interrupted export has finished, if there are any."""
    return " with --overwrite" if any(output.glob("*.tflite")) else ""


def _show_layer_errors(folder: Path) -> None:
    """Print the ten operations of the exported int8 file that add the most error."""
    from keras_inception.exporting.report import LAYER_ERRORS

    path = folder / LAYER_ERRORS
    if not path.exists():  # the int8 file is missing or does not run
        return
    rows = sorted(files.read_json(path), key=lambda row: row["own_error"], reverse=True)
    typer.echo(tables.text(tables.columns("layer", "operation", "type", "own_error", "error", "sqnr_db"), rows[:10]))
    typer.echo(f"Relative to float32. All layers: {path}")


def _steps(json: bool) -> Callable[[str], None]:
    """Return a function that prints a step, to standard error if the result is JSON."""
    return lambda step: typer.echo(step, err=json)


def _parts(text: str | None) -> tuple[str, ...] | None:
    """Split a comma-separated option."""
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


def _size(text: str | None) -> tuple[int, int] | None:
    """Return the (height, width) of an option such as 160x120; 160 stands for 160x160."""
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise ValueError(f"--size must be HEIGHTxWIDTH in pixels, such as 160x120. Received: {text}")
    return int(sides[0]), int(sides[-1])


def _number_or(word: str, option: str, text: str, kind: type[float]) -> float | Any:
    """Parse an option that is a number or one word."""
    if text == word:
        return word
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"{option} must be a number or {word}. Received: {text!r}") from None
