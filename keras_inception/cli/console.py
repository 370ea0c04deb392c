"""The application, its entry point, and helpers for the commands."""

import codecs
import dataclasses
import functools
import io
import json as jsonlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer import Option

from keras_inception.utils import files
from keras_inception.utils import progress as progress_bars
from keras_inception.utils.quiet import silenced, without_modules

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)

DATA = "Folder of images or of TFRecord shards, table of labels (.csv, .tsv), fashion_mnist[:FOLDER] or tfds:NAME."
EXPECTED = (ValueError, OSError, FloatingPointError)  # errors that say all that a user needs
RESUMED = "Output folder. An interrupted run is resumed."
CustomObjects = Annotated[
    Path | None,
    Option(metavar="FILE.py", help="Python file with what the model file needs. It is run, as are Lambdas."),
]
Pictures = Annotated[
    Path | None,
    Option(metavar="DIR", help="Folder that the paths in a table of labels are relative to. Default: its own."),
]
Columns = Annotated[
    str | None,
    Option(metavar="PATH,LABEL", help="Columns of a table of labels. Default: path or file, label or class, …"),
]
Exclude = Annotated[Path | None, Option(metavar="FILE", help="CSV file with a column `path` of images to leave out.")]
Group = Annotated[
    str | None, Option(metavar="REGEX", help="Images whose paths give the same first group stay in one split.")
]
Json = Annotated[bool, Option("--json", help="Print the result as JSON, and nothing else to standard output.")]
Overwrite = Annotated[bool, Option("--overwrite", help="Replace existing output.")]
Resume = Annotated[bool, Option("--resume", help="Resume the run at --output instead of starting one.")]
Settings = Annotated[list[str] | None, Option("--set", metavar="FIELD=VALUE", help="Change the recipe. Repeatable.")]
Strict = Annotated[bool, Option("--strict", help="Fail if an image cannot be read.")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command. An error prints one line to standard error and exits with code 1, or 2 for wrong usage.

    Without arguments, they are those of this process.
    """
    _print_any_name()
    try:
        app(arguments, prog_name="keras-inception")
    except Exception as error:
        full = files.full_disk(error)
        if os.environ.get("KERAS_INCEPTION_TRACEBACK") or not (full or isinstance(error, EXPECTED)):
            raise
        if isinstance(error, OSError) and error.filename is not None and error.strerror:
            fail(f"{error.filename}: {error.strerror}")
        unnamed = not isinstance(error, EXPECTED) or (isinstance(error, OSError) and error.errno is not None)
        fail(f"the output cannot be written: {full}" if full and unnamed else str(error))


def _print_any_name() -> None:
    """Print file names with the bytes that they have, which need not be text. Where nothing is known, print UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            known = codecs.lookup(stream.encoding).name != "ascii"
            stream.reconfigure(encoding=None if known else "utf-8", errors="surrogateescape")


def fail(message: str, code: int = 1) -> NoReturn:
    """Print an error and exit."""
    progress_bars.clear()
    typer.echo(f"error: {message}", err=True)
    raise SystemExit(code)


def as_json(value: Any) -> str:
    """Return a value as JSON on one line. Bytes of names that are not UTF-8 are escaped: 0xe9 is ``udce9``."""
    return jsonlib.dumps(value, ensure_ascii=False).encode(errors="backslashreplace").decode()


def print_json(value: Any) -> None:
    """Print a value as JSON on one line."""
    typer.echo(as_json(value))


def show(result: Any, json: bool) -> None:
    """Print a result as text, or its ``to_dict()`` as JSON."""
    if json:
        print_json(result.to_dict())
    else:
        typer.echo(result)


def progress(what: str) -> Callable[[int, int], None]:
    """Return a function of (number done, total) that shows a progress bar."""
    return functools.partial(progress_bars.bars(), what)


def fields_of(kind: type, context: typer.Context) -> dict[str, Any]:
    """Return the given arguments of a command that are fields of a dataclass, by name."""
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in context.params.items() if name in names and value is not None}


def assignments(settings: Sequence[str] | None) -> dict[str, str]:
    """Parse the ``FIELD=VALUE`` pairs of ``--set``."""
    for setting in settings or ():
        if "=" not in setting:
            raise ValueError(f"--set takes FIELD=VALUE. Received: {setting}")
    return dict(setting.split("=", 1) for setting in settings or ())


def import_tensorflow() -> None:
    """Import TensorFlow and Keras quietly and without the modules that they load but we do not use."""
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    unused = ["matplotlib"] if os.environ.get("KERAS_BACKEND") == "jax" else ["jax", "matplotlib"]  # saves 2 of 6 s
    with silenced(), without_modules(unused):
        import keras  # noqa: F401
        import tensorflow as tf

        tf.config.list_physical_devices()


@app.callback(help="GoogLeNet, from a folder of images to a verified .tflite file.")
def warn_of_slow_protobuf() -> None:
    """Warn if protobuf lacks its C extension."""
    from google.protobuf.internal import api_implementation

    if api_implementation.Type() == "python":
        advice = 'makes TensorFlow start three times slower: pip install "protobuf>=5.29.5,<6"'
        typer.echo(f"warning: this protobuf is pure Python, which {advice}", err=True)
