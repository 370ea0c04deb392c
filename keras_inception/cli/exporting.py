"""Commands that make and measure .tflite files: export, compress, rewrites, benchmark and page."""

import contextlib
import json as jsonlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from keras_inception.cli import console

if TYPE_CHECKING:
    from keras_inception.exporting.report import ExportReport

WORST = 10  # layers to list


def export(
    source: Annotated[
        Path | None, typer.Argument(metavar="[RUN|FILE.keras]", help="A run directory or a .keras file.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Output folder.")] = Path("exported"),
    quantize: Annotated[
        str | None,
        typer.Option(help="Comma-separated variants: float32, float16, dynamic, int8. Default: all that are possible."),
    ] = None,
    rewrites: Annotated[
        str | None,
        typer.Option(
            help='Comma-separated graph rewrites, or "none". Default: those that help. See `keras-inception rewrites`.'
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Prefix of the files, NAME_VARIANT.tflite.")] = None,
    model: Annotated[str | None, typer.Option(help="Name of a network to export in place of SOURCE.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights file for --model.")] = None,
    classes: Annotated[int, typer.Option(help="Number of classes of --model.")] = 1000,
    labels: Annotated[Path | None, typer.Option(help="File with one class name per line. Default: the run's.")] = None,
    preprocessing: Annotated[str | None, typer.Option(help="Name or JSON file. Default: the run's.")] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Images to calibrate int8 with. Default: the run's training images.")
    ] = None,
    test: Annotated[
        Path | None, typer.Option(help="Labeled images to verify with. Default: the run's held-out images.")
    ] = None,
    description: Annotated[str | None, typer.Option(help="Description for the metadata.")] = None,
    author: Annotated[str | None, typer.Option(help="Author for the metadata.")] = None,
    licence: Annotated[str | None, typer.Option("--license", "--licence", help="License for the metadata.")] = None,
    min_agreement: Annotated[
        float | None,
        typer.Option(help="Minimum top-1 agreement with Keras, 0 to 1; 0 disables the check. Default: by variant."),
    ] = None,
    verify_pictures: Annotated[
        str, typer.Option(metavar="N|all", help="Number of held-out images to verify with.")
    ] = "500",
    keep_float: Annotated[
        list[str] | None,
        typer.Option("--keep-float", metavar="LAYER", help="Layer to keep in float32 in the int8 file. Repeatable."),
    ] = None,
    layer_errors: Annotated[
        bool,
        typer.Option(
            "--layer-errors",
            help="Print the int8 layers with the largest quantization error, and write all to layer_errors.json.",
        ),
    ] = False,
    client: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated clients that must accept the files: task-library, mediapipe, litert-web; "
            'or "none". Default: check those that are installed.'
        ),
    ] = None,
    litert_sample: Annotated[
        bool, typer.Option("--litert-sample", help="Match Google's LiteRT sample app: 224×224 input, float32.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an export of the same name.")] = False,
    json: console.Json = False,
) -> None:
    """Export a network to verified .tflite files."""
    if weights is not None and model is None:
        raise ValueError("--weights goes with --model")
    if (source is None) == (model is None):
        raise ValueError("name either a run directory or .keras file, or a network by --model")
    import keras_inception
    from keras_inception import registry
    from keras_inception.exporting.options import ExportOptions
    from keras_inception.utils.progress import bars
    from keras_inception.weights.publishers import check_weights

    options: dict[str, Any] = {
        "quantize": _parts(quantize),
        "rewrites": () if rewrites == "none" else _parts(rewrites),
        "name": name,
        "labels": labels,
        "preprocessing": preprocessing,
        "calibration": calibration,
        "test": test,
        "min_agreement": min_agreement,
        "verify_pictures": _count_or_all(verify_pictures),
        "keep_float": keep_float or (),
        "layer_errors": layer_errors,
        "clients": () if client == "none" else _parts(client),
        "overwrite": overwrite,
    }
    ExportOptions(**options).check(source, output)
    network = None if model is None else registry.resolve(model)
    if weights is not None:
        check_weights(str(weights))
    console.import_tensorflow()
    report = keras_inception.export(
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
    show_report(report, json)
    typer.echo(f"Exported: {output}", err=json)


def compress(
    source: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="Run directory to compress.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Run directory to create.")] = Path("compressed"),
    resume: Annotated[bool, typer.Option("--resume", help="Resume the compression at --output; omit RUN.")] = False,
    macs: Annotated[
        float | None, typer.Option(help="Prune filters down to this many multiply-adds, or to this share if at most 1.")
    ] = None,
    latency: Annotated[
        float | None,
        typer.Option(help="Prune filters down to this latency of the int8 file in ms, or to this share if at most 1."),
    ] = None,
    mb: Annotated[
        float | None,
        typer.Option(help="Prune filters down to this size of the int8 file in MB, or to this share if at most 1."),
    ] = None,
    criterion: Annotated[str, typer.Option(help="Importance of filters: taylor, l1 or batch_norm_scale.")] = "taylor",
    prune: Annotated[str | None, typer.Option(help="Share of weights to set to zero, or 2:4.")] = None,
    prune_schedule: Annotated[str, typer.Option(help="polynomial (gradual) or constant (all at once).")] = "polynomial",
    prune_layers: Annotated[
        list[str] | None, typer.Option("--prune-layer", metavar="LAYER", help="Prune only this layer. Repeatable.")
    ] = None,
    cluster: Annotated[int | None, typer.Option(help="Number of distinct weight values per layer.")] = None,
    quantize: Annotated[bool, typer.Option("--quantize", help="Train quantization-aware, for int8.")] = False,
    distillation: Annotated[
        float, typer.Option(help="Weight of the teacher's predictions in the distillation target, 0 to 1.")
    ] = 0.5,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Field of every step's recipe to change. Repeatable."),
    ] = None,
    json: console.Json = False,
) -> None:
    """Make a trained network smaller and faster by pruning, clustering and quantization.

    The result is a run directory. A table shows what each step costs and saves.
    """
    asked = macs or latency or mb or prune or cluster or quantize
    if resume and (source or asked or settings):
        raise ValueError(f"--resume takes the run and the steps from {output}: give neither")
    if not resume and source is None:
        raise ValueError("RUN is missing: give a run directory to compress, or --resume")
    from keras_inception.compression.job import Job, check_compression
    from keras_inception.utils.progress import bars

    job = None
    if not resume:
        share = _share_or_pattern(prune)
        job = Job(macs, latency, mb, criterion, share, prune_schedule, prune_layers or None, cluster, quantize)
    changes = console.assignments(settings)
    check_compression(source, output, job, settings=changes, distillation=distillation, resume=resume)
    console.import_tensorflow()
    from keras_inception.compression import compress as compression

    report = compression.compress(
        source,
        output,
        job,
        settings=changes,
        distillation=distillation,
        resume=resume,
        on_step=lambda step: typer.echo(step, err=json),
        on_progress=bars(),
    )
    if json:
        console.print_json(report.to_dict())
        return
    typer.echo(report)
    typer.echo(f"Sizes, top-1 and latency are those of the int8 files. Run: {output}")


def rewrites() -> None:
    """List the graph rewrites of `export`, which speed up a network without changing its outputs."""
    from keras_inception.exporting.rewrites import REWRITES
    from keras_inception.exporting.variants import VARIANTS
    from keras_inception.utils import tables

    rows = []
    for name, function in REWRITES.items():
        variants = [variant.name for variant in VARIANTS.values() if name in variant.rewrites]
        rows.append(
            {
                "rewrite": name,
                "variants": "all" if len(variants) == len(VARIANTS) else variants,
                "about": (function.__doc__ or "").split("\n")[0],
            }
        )
    typer.echo(tables.text(tables.columns("rewrite", "variants", "about"), rows))


def benchmark(
    paths: Annotated[
        list[Path], typer.Argument(metavar="FILE.tflite...", help="Files to time. Ratios are relative to the first.")
    ],
    threads: Annotated[int, typer.Option(help="Threads per interpreter.")] = 1,
    runs: Annotated[int, typer.Option(help="Timed inferences per file.")] = 50,
    peak: Annotated[
        bool, typer.Option("--peak/--no-peak", help="Compare with the machine's peak, which takes half a minute.")
    ] = True,
    json: console.Json = False,
) -> None:
    """Time .tflite files in alternation.

    For reliable results, nothing else should run on the machine.
    """
    from keras_inception.tflite.benchmark import benchmark as measure
    from keras_inception.tflite.classifier import interpreter
    from keras_inception.utils import tables

    for path in paths:
        interpreter(path)
    with tempfile.TemporaryDirectory() as folder:
        peaks = []
        if peak:
            console.import_tensorflow()
            from keras_inception.exporting.noise import write_peaks

            peaks = write_peaks(Path(folder))
        rows = measure(paths, threads=threads, runs=runs, peaks=peaks, on_round=console.progress("Timing"))
    if json:
        console.print_json(rows)
        return
    columns = ["path", "mb", "macs", "load_ms", "memory_mb", "median_ms", "p10_ms", "p90_ms", "ratio"]
    typer.echo(tables.text(tables.columns(*columns, *(["share_of_peak"] if peak else [])), rows))


def page(
    exported: Annotated[Path, typer.Argument(metavar="EXPORTED", help="Output folder of `keras-inception export`.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to create.")] = Path("site"),
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the page on this machine, with threads enabled.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port for --serve; 0 picks a free one.")] = 8000,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing site.")] = False,
) -> None:
    """Make a web page that classifies images offline.

    It runs exported files in the browser. Any static web server can serve it.
    """
    from keras_inception.page import site as pages

    site = pages.page(exported, output, overwrite=overwrite)
    typer.echo(f"Site: {output} ({', '.join(site['variants'])})")
    if serve:
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


def _show_layer_errors(folder: Path) -> None:
    """Print the operations of an export's int8 file that add the largest errors."""
    from keras_inception.exporting.exporter import LAYER_ERRORS
    from keras_inception.utils import tables

    path = folder / LAYER_ERRORS
    if not path.exists():  # no int8 file that runs
        return
    rows = sorted(jsonlib.loads(path.read_text(encoding="utf-8")), key=lambda row: row["own_error"], reverse=True)
    columns = tables.columns("layer", "operation", "type", "own_error", "error", "sqnr_db")
    typer.echo(tables.text(columns, rows[:WORST]))
    typer.echo(f"Relative to float32. All layers: {path}")


def _parts(text: str | None) -> tuple[str, ...] | None:
    """Split a comma-separated option."""
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


def _count_or_all(text: str) -> int | Literal["all"]:
    if text == "all":
        return "all"
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"--verify-pictures must be a number or all. Received: {text!r}") from None


def _share_or_pattern(text: str | None) -> float | str | None:
    if text in (None, "2:4"):
        return text
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--prune must be a number or 2:4. Received: {text!r}") from None
