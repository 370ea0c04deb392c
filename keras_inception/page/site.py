"""`page`: write a static site that runs the files of an export in the browser, and serve it."""

import os
import shutil
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from keras_inception.exporting.half_precision import remark
from keras_inception.exporting.model_card import SAMPLE
from keras_inception.exporting.variants import VARIANTS
from keras_inception.page import npm
from keras_inception.tflite.classifier import TFLiteClassifier
from keras_inception.tflite.exported import REPORT, folder_of
from keras_inception.tflite.runtimes import oldest_runtime
from keras_inception.utils import files

SITE, MODEL = "site.json", "model"
# Files in node_modules, and their places in the site. Of the four WebAssembly builds of LiteRT.js, JSPI is not used.
PACKAGES = {
    "@litertjs/wasm-utils/dist/index.js": "litert/wasm-utils.js",
    "@litertjs/core/dist/index.js": "litert/index.js",
    "@litertjs/core/wasm/litert_wasm_internal.*": "litert",
    "@litertjs/core/wasm/litert_wasm_compat_internal.*": "litert",
    "@litertjs/core/wasm/litert_wasm_threaded_internal.*": "litert",
    "@mediapipe/tasks-vision/vision_bundle.mjs": "mediapipe/vision_bundle.mjs",
    "@mediapipe/tasks-vision/wasm/vision_wasm_internal.*": "mediapipe/wasm",
    "@mediapipe/tasks-vision/wasm/vision_wasm_nosimd_internal.*": "mediapipe/wasm",
}
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"}
# These headers allow shared memory in a page, which WebAssembly threads need.
ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}


def page(exported: str | os.PathLike, output: str | os.PathLike, *, overwrite: bool = False) -> dict:
    """Write a site that classifies images in the browser with the files of an export.

    Any static server can serve it, and it loads nothing from other hosts. If the server sends the headers `ISOLATED`,
    as `server` does, the engine uses threads. Files of int8 input or output are left out: no engine accepts them.

    Args:
        exported: a folder that `export` wrote, or a file in it.
        output: the folder to create.
        overwrite: replace an existing site.

    Returns:
        The content of ``site.json``: ``name``; ``top1`` of Keras; ``pictures``, the number of held-out images;
        ``not_sure``, the probability below which the page says that it is not sure, or None; ``labels``, the class
        names; ``sample``; and ``variants``, each with ``path``, ``mb``, ``top1``, ``agreement``, ``latency_ms``,
        ``shape`` and ``dtype`` of its input, ``output`` (scale and zero point), ``preprocessing``, ``runtime``, the
        oldest release of TensorFlow Lite that runs it, or None if it is not known, ``needs``, the same with the
        operation that asks for it, and for float16 ``half_precision``, what was found in a trial of it.

    Raises:
        FileNotFoundError: a file of the export is missing in `exported`, or npm is not installed.
        FileExistsError: `output` exists and `overwrite` is false, or it is not a site.
        ValueError: the content of `exported` is not what `export` writes.
    """
    exported, output = folder_of(exported), Path(output)
    if os.path.lexists(output):
        if not overwrite:
            raise FileExistsError(f"{output} exists: choose another folder, or overwrite it")
        if not (output / SITE).is_file():
            raise FileExistsError(f"{output} is not a site and will not be overwritten: it has no {SITE}")
    site = _described(exported)
    with files.new_folder(output) as new:
        _copy_engines(npm.packages(), new)
        for path in npm.WEB.iterdir():
            if path.name not in npm.LOCK and path.is_file():
                shutil.copyfile(path, new / path.name)
        (new / MODEL).mkdir()
        for copied in (site["sample"], *(row["path"] for row in site["variants"].values())):
            shutil.copyfile(exported / Path(copied).name, new / copied)
        files.write_json(new / SITE, site)
        if output.exists():  # only now that the new one is complete
            shutil.rmtree(output)
    return site


def _described(exported: Path) -> dict:
    """Return the content of ``site.json`` after opening every file."""
    for name in (REPORT, SAMPLE):
        if not (exported / name).is_file():
            raise FileNotFoundError(f"{exported} must be a folder that `export` wrote: it has no {name}")
    report = files.read_json(exported / REPORT)
    try:
        figures = {
            variant: {key: row[key] for key in ("path", "mb", "top1", "agreement", "latency_ms")}
            | ({"half_precision": remark(row.get("half_precision"))} if VARIANTS[variant].half_precision else {})
            for variant, row in report["variants"].items()
            if variant in VARIANTS and "refused" not in row
        }
        site = {"top1": report["top1"], "pictures": report["pictures"], "not_sure": report.get("not_sure")}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{exported / REPORT} is not a report of `export`: {error!r}") from None
    if site["not_sure"] is not None and not (isinstance(site["not_sure"], float) and 0 < site["not_sure"] < 1):
        received = f"Received: {site['not_sure']!r}"
        raise ValueError(f"`not_sure` in {exported / REPORT} must be null or a number between 0 and 1. {received}")
    if not figures:
        raise ValueError(f"{exported / REPORT} must list at least one exported file. Received: none")
    for variant, row in list(figures.items()):
        if Path(row["path"]).name != row["path"]:
            raise ValueError(f"{exported / REPORT} must name files in its own folder. Received: {row['path']!r}")
        classifier = TFLiteClassifier(exported / row["path"])
        if np.int8 in (classifier.input_type, classifier.output_type):  # neither engine accepts it
            del figures[variant]
            continue
        oldest = oldest_runtime(exported / row["path"])
        row.update(classifier.described(), runtime=oldest.version, needs=str(oldest))
        site |= {"labels": list(classifier.labels)}
        row["path"] = f"{MODEL}/{row['path']}"
    if not figures:
        raise ValueError(f"{exported} has no file for browsers: they accept no int8 input or output")
    variant, row = next(iter(figures.items()))
    name = Path(row["path"]).stem.removesuffix(f"_{variant}")
    return {"name": name, **site, "sample": f"{MODEL}/{SAMPLE}", "variants": figures}


def _copy_engines(packages: Path, site: Path) -> None:
    for pattern, target in PACKAGES.items():
        found = sorted(packages.glob(pattern))
        if not found:
            raise FileNotFoundError(f"{packages} has no {pattern}: remove that folder so that npm installs it again")
        for path in found:
            copy = site / target / path.name if "*" in pattern else site / target
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    engine = site / "litert" / "index.js"  # workers have no import maps, so they cannot resolve bare names
    text = engine.read_text(encoding="utf-8")
    engine.write_text(text.replace('"@litertjs/wasm-utils"', '"./wasm-utils.js"'), encoding="utf-8")


def server(site: str | os.PathLike, port: int = 0, *, isolated: bool = True) -> ThreadingHTTPServer:
    """Return an HTTP server for a site, reachable only from this machine. Call its ``serve_forever`` to run it.

    Args:
        site: a folder that `page` wrote.
        port: port to serve on; 0 picks a free one, found in ``server_address``.
        isolated: send the headers that enable threads.

    Raises:
        FileNotFoundError: there is no site.
        OSError: the port is in use.
    """
    if not (Path(site) / SITE).is_file():
        raise FileNotFoundError(f"{site} must be a folder that `page` wrote: it has no {SITE}")

    class Handler(SimpleHTTPRequestHandler):
        extensions_map = SimpleHTTPRequestHandler.extensions_map | TYPES

        def end_headers(self) -> None:
            for name, value in {**(ISOLATED if isolated else {}), "Cache-Control": "no-cache"}.items():
                self.send_header(name, value)
            super().end_headers()

        def log_message(self, *arguments) -> None:
            """Log nothing: the page shows failures."""

    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(Handler, directory=os.fspath(site)))
    except OSError as error:
        raise OSError(f"cannot serve on port {port}: {error.strerror or error}") from None
