"""The classifier of the Android project, in Kotlin, over LiteRT's own library on this machine's CPU."""

import hashlib
import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from keras_inception.utils import files
from keras_inception.utils.subprocesses import ChildError, start

CLASSIFIER = Path(__file__).parents[2] / "android" / "project" / "classifier"
OLDEST_JAVA = 17
CLASSPATH = "classpath.txt"
GOALS = ("test-compile", "dependency:build-classpath", "-Dmdep.includeScope=test")


def unavailable() -> str | None:
    """Return None if the classifier can be used here, otherwise the reason and how to install what it needs."""
    missing = [tool for tool in ("java", "mvn") if not shutil.which(tool)]
    if missing:
        return f"it needs a JDK of {OLDEST_JAVA} or newer and Maven. Received: no {' and no '.join(missing)}"
    said = subprocess.run(["java", "-version"], capture_output=True, check=False, encoding="utf-8").stderr
    found = re.search(r'version "(\d+)', said)
    if not found or int(found[1]) < OLDEST_JAVA:
        return f"it needs a JDK of {OLDEST_JAVA} or newer. Received: {said.splitlines()[0] if said else 'no version'}"
    return None


def scores(path: Path, images: np.ndarray, classes: int) -> np.ndarray:
    """Return the classifier's scores (see `keras_inception.exporting.clients`)."""
    with files.temporary_folder() as folder:
        pixels, found = folder / "pixels", folder / "scores"
        np.ascontiguousarray(images, np.uint8).tofile(pixels)
        run("kerasinception.Scores", path, pixels, found)
        return np.fromfile(found, "<f4").reshape(len(images), classes)


def run(main: str, *arguments: str | os.PathLike) -> str:
    """Run a main class of the classifier's tests to completion, and return what it printed.

    Raises:
        ChildError: it cannot be compiled, or fails; the message is the last line of its errors.
    """
    library = Path(str(find_spec("ai_edge_litert").origin)).with_name("libLiteRt.so")  # type: ignore[union-attr]
    environment = {**os.environ, "LITERT": str(library)}
    command = ["java", "-XX:+UseSerialGC", "-cp", compiled(), main, *(os.fspath(each) for each in arguments)]
    return _output(command, "the Kotlin classifier", env=environment)


def compiled() -> str:
    """Compile the classifier and its tests with Maven, once for each version of the code, and return the class path."""
    sources = sorted(path for path in CLASSIFIER.rglob("*") if path.is_file())
    whole = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    folder = files.cache() / "kotlin" / whole[:16]
    if not folder.exists():
        with files.new_folder(folder) as new:
            options = ("--batch-mode", "--quiet", f"-DbuildDirectory={new}", f"-Dmdep.outputFile={new / CLASSPATH}")
            _output(["mvn", *options, *GOALS], "Maven", cwd=CLASSIFIER)
    dependencies = (folder / CLASSPATH).read_text(encoding="utf-8").strip()
    return os.pathsep.join([str(folder / "classes"), str(folder / "test-classes"), dependencies])


def _output(command: list[str], who: str, **options) -> str:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with start(command, encoding="utf-8", **pipes, **options) as process:
        output, errors = process.communicate()
    if process.returncode:
        lines = [line for line in (errors + output).splitlines() if line.strip()]
        reasons = [line for line in lines if line.startswith(("error:", "Exception", "[ERROR]"))] or lines
        raise ChildError(f"{who} ended with exit code {process.returncode}: {' '.join(reasons[:1]) or 'no message'}")
    return output
