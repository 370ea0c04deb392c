"""The project's tasks, for a machine that has only Python: python tasks.py TASK

On Linux and macOS, `make TASK` does the same. `python tasks.py --help` lists the tasks. No package is needed.
"""

import argparse
import itertools
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
LOCKED = (3, 11)  # the Python that requirements.lock is for
NEWEST = "3.12"  # the Python of unlocked environments, unless LATEST names another
TENSORFLOWS = ("2.19", "2.20", "2.21")  # those that pyproject.toml allows
SCRIPTS, EXE = ("Scripts", ".exe") if os.name == "nt" else ("bin", "")
VENV = ROOT / ".venv"
PIP = ("-m", "pip", "--disable-pip-version-check", "install", "--quiet")
# Each test file runs on one worker, since its tests share networks and exports. The longest files do not come last.
WORKERS = min(4, (os.cpu_count() or 1) + 1)  # one more than cores, since workers wait for children and files
PYTEST = ("-m", "pytest", "--numprocesses", str(WORKERS), "--dist", "loadfile", "--no-loadscope-reorder")
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}  # for each worker
HERE = "not backends and not web and not clients and not arm64 and not android"
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin", "x86_64-pc-windows-msvc")
EXTRAS = ("mobile", "dev", "docs", "task-library")  # of the lock file
PYTHONS = ("3.11", "3.12", "3.13")
# Three classes of twelve bundled images each, which the wheel must contain.
HANDFUL = """
import pathlib, shutil
from keras_inception.datasets import pictograms
classes = sorted((pictograms("pictograms") / "train").iterdir())[:3]
for source in (image for folder in classes for image in sorted(folder.iterdir())[:12]):
    target = pathlib.Path("handful", source.parent.name, source.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
"""
WHEEL_TRAINING = (
    *("--output", "run", "--network", "network_in_network", "--size", "64", "--epochs", "1"),
    *("--batch-size", "8", "--precision", "float32"),
    *("--learning-rate", "1e-4"),  # a higher one ends in zeros, which int8 cannot scale
)

TASKS: dict[str, Callable[[], None]] = {}


def task(function: Callable[[], None]) -> Callable[[], None]:
    """Register a function as a task under its name."""
    TASKS[function.__name__.replace("_", "-")] = function
    return function


def main() -> None:
    lines = [f"  {name:15} {(function.__doc__ or '').splitlines()[0]}" for name, function in TASKS.items()]
    parser = argparse.ArgumentParser(
        prog="tasks.py",
        description=(__doc__ or "").splitlines()[0],
        epilog="\n".join(["tasks:", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("tasks", nargs="+", metavar="TASK", choices=TASKS)
    for name in parser.parse_args().tasks:
        TASKS[name]()


@task
def setup() -> None:
    """Create .venv exactly as requirements.lock states."""
    stamp = VENV / ".installed"
    sources = [ROOT / "requirements.lock", ROOT / "pyproject.toml"]
    if stamp.exists() and stamp.stat().st_mtime >= max(source.stat().st_mtime for source in sources):
        return
    if sys.version_info[:2] != LOCKED:
        wanted = ".".join(map(str, LOCKED))
        sys.exit(
            f"requirements.lock is for Python {wanted}, and this is {platform.python_version()}: "
            f"run make PYTHON=/path/to/python{wanted}, or /path/to/python{wanted} tasks.py"
        )
    print(f"Creating {VENV.name} from requirements.lock, which takes minutes and 4 GB of disk", flush=True)
    run(sys.executable, "-m", "venv", VENV)
    # The lock file overrides what some packages require (pyproject.toml, [tool.uv]), so pip must not resolve it again.
    run(python(), *PIP, "--require-hashes", "--no-deps", "-r", ROOT / "requirements.lock")
    run(python(), *PIP, "--no-deps", "--no-build-isolation", "--editable", ROOT)
    stamp.touch()


@task
def demo() -> None:
    """Train, export and verify GoogLeNet on the bundled images."""
    setup()
    run(VENV / SCRIPTS / f"keras-inception{EXE}", "demo", "--output", "demo")


@task
def test() -> None:
    """Run the tests, and print the line coverage."""
    setup()
    run(python(), *PYTEST, "--cov", variables=ONE_THREAD)


@task
def test_full() -> None:
    """Run the tests that `make test` leaves out: more and larger networks, and the notebooks."""
    setup()
    run(python(), *PYTEST, "-m", "full and not slow", variables=ONE_THREAD)


@task
def soak() -> None:
    """Run the long tests too, with new random examples each time."""
    setup()
    run(python(), *PYTEST, "-m", HERE, "--hypothesis-profile", "random")


@task
def test_latest() -> None:
    """Run the tests on the newest TensorFlow, in .venv-latest; LATEST=3.13 selects another Python."""
    latest = newest(TENSORFLOWS[-1], ROOT / ".venv-latest", "dev,mobile")
    run(latest, *PYTEST, "-m", f"{HERE} and not tflite_support and (not slow or versions)")


@task
def test_versions() -> None:
    """Run a short group of tests on every TensorFlow, in .venv-2.19 and so on; TENSORFLOW=2.21 selects one."""
    asked = os.environ.get("TENSORFLOW")
    for tensorflow in [asked] if asked else TENSORFLOWS:
        print(f"TensorFlow {tensorflow}", flush=True)
        latest = newest(tensorflow, ROOT / f".venv-{tensorflow}", "mobile,test")
        rooms = ("compression", "exporting", "models", "tflite", "training")  # the others import more than is installed
        run(latest, *PYTEST, "-m", "versions and not slow", *(ROOT / "tests" / room for room in rooms))


@task
def test_backends() -> None:
    """Run the networks on JAX and torch under Keras."""
    backends = environment(ROOT / ".venv-backends", sys.executable)
    run(backends, *PIP, "--editable", f"{ROOT}[dev,backends]")
    run(backends, "-m", "pytest", "-m", "backends")


@task
def test_web() -> None:
    """Run the page in Chromium and Node.js; apt-get installs Chromium if it is missing."""
    setup()
    install_chromium()
    run(python(), "-m", "pytest", "-m", "web", "tests/web")


@task
def test_clients() -> None:
    """Run exported files in MediaPipe, in LiteRT.js, which needs Node.js and npm, and on a GPU or software Vulkan."""
    setup()
    install_chromium()  # for its Vulkan driver
    mediapipe = environment(ROOT / ".venv-mediapipe", sys.executable)
    run(mediapipe, *PIP, said("from keras_inception.exporting.clients import mediapipe; print(mediapipe.PACKAGE)"))
    packages = said("from keras_inception.page import npm; print(npm.packages())")
    variables = {"KERAS_INCEPTION_MEDIAPIPE": str(mediapipe), "KERAS_INCEPTION_LITERT_WEB": packages}
    run(python(), "-m", "pytest", "-m", "clients", variables=variables)


@task
def test_arm64() -> None:
    """Run exported files on an emulated ARM processor, and train for it once; needs Linux on x86-64 with apt-get."""
    setup()
    run(python(), "-m", "pytest", "-m", "arm64")


@task
def test_android() -> None:
    """Test the Android project without a phone; needs a JDK of 17 or newer and Maven."""
    setup()
    if missing := said("from keras_inception.exporting.clients import kotlin; print(kotlin.unavailable() or '')"):
        print(f"The Android project was not tested: {missing}")
        return
    run(python(), "-m", "pytest", "-m", "android", "tests/android")


@task
def android_predict() -> None:
    """Classify PICTURES="a.png b.jpg" with the .tflite FILE in Kotlin, and print JSON as `predict --json` does."""
    setup()
    script = (
        "import sys; from keras_inception.exporting.clients.kotlin import run; sys.stdout.write(run(*sys.argv[1:]))"
    )
    given = [os.environ.get("FILE", ""), *shlex.split(os.environ.get("PICTURES", ""))]
    run(python(), "-c", script, "kerasinception.Predict", *given)


@task
def docs() -> None:
    """Build the documentation as a website, in site/; warnings are errors."""
    setup()
    run(python(), "-m", "mkdocs", "build", "--strict", variables={"NO_MKDOCS_2_WARNING": "1"})


@task
def test_wheel() -> None:
    """Build the package, install the wheel elsewhere, and train, export and make a page with it; needs Node.js."""
    setup()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(python(), "-m", "build", "--no-isolation", "--outdir", folder / "dist", ROOT)
        packages = sorted((folder / "dist").iterdir())
        run(python(), "-m", "twine", "check", "--strict", *packages)
        installed = environment(folder / "environment", sys.executable)
        (wheel,) = (path for path in packages if path.suffix == ".whl")
        run(installed, *PIP, wheel)
        command = installed.with_name(f"keras-inception{EXE}")
        run(installed, "-c", HANDFUL, cwd=folder)
        run(command, "list", cwd=folder)
        run(command, "train", "handful", *WHEEL_TRAINING, cwd=folder)
        run(command, "export", "run", "--quantize", "float32,int8", "--min-agreement", "0", cwd=folder)
        run(command, "page", "exported", "--output", "page", cwd=folder)


@task
def check() -> None:
    """Lint, check the format and the types."""
    setup()
    run(python(), "-m", "ruff", "check", ".")
    run(python(), "-m", "ruff", "format", "--check", ".")
    run(python(), "-m", "mypy")
    run(VENV / SCRIPTS / f"lint-imports{EXE}")
    run(VENV / SCRIPTS / f"actionlint{EXE}")


@task
def lock() -> None:
    """Resolve the dependencies again after pyproject.toml has changed, and check other platforms; needs uv."""
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    lock_file = ROOT / "requirements.lock"
    compiled = ["--generate-hashes", "--no-header", "--quiet", "--output-file", lock_file]
    run("uv", "pip", "compile", "pyproject.toml", *extras, "--universal", "--python-version", PYTHONS[0], *compiled)
    wheels = ["--only-binary", ":all:", "--no-binary", "promise"]
    for machine in PLATFORMS:
        print(f"requirements.lock on {machine}", flush=True)
        with tempfile.TemporaryDirectory() as empty:
            target = ["--python-version", PYTHONS[0], "--python-platform", machine, "--target", empty]
            dry = ["uv", "pip", "install", "--no-config", "--dry-run", "--quiet", "--no-deps"]
            run(*dry, *wheels, *target, "-r", lock_file)
    others = sorted(optional() - {"gpu", "task-library"})
    extras = [word for extra in others for word in ("--extra", extra)]
    for machine, version, constraint in itertools.product(PLATFORMS, PYTHONS, ("", f"tensorflow>={TENSORFLOWS[-1]}")):
        print(f"Newest versions on {machine}, Python {version} {constraint}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "constraints.txt").write_text(constraint, encoding="utf-8")
            target = ["--python-version", version, "--python-platform", machine]
            given = ["--constraints", Path(folder) / "constraints.txt", "--output-file", Path(folder) / "resolved.txt"]
            # pip does not read [tool.uv] either.
            run("uv", "pip", "compile", "--no-config", "--quiet", "pyproject.toml", *extras, *wheels, *target, *given)


@task
def clean() -> None:
    """Remove what the tasks created."""
    for pattern in (".venv*", ".cache", "build", "dist", "site", "*.egg-info"):
        for path in ROOT.glob(pattern):
            shutil.rmtree(path)


def run(*command: str | os.PathLike, variables: Mapping[str, str] | None = None, cwd: Path = ROOT) -> None:
    """Run a command, by default in the project's folder, and exit with its exit code if it fails."""
    done = subprocess.run(list(map(os.fspath, command)), cwd=cwd, env={**os.environ, **(variables or {})}, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def install_chromium() -> None:
    """Install Chromium by apt-get if it is missing."""
    if shutil.which("chromium"):
        return
    root = [] if not hasattr(os, "geteuid") or os.geteuid() == 0 else ["sudo"]
    try:
        run(*root, "apt-get", "update", "--quiet")
        run(*root, "apt-get", "install", "--yes", "--quiet", "chromium")
    except FileNotFoundError:
        sys.exit("Chromium is needed, and there is no apt-get to install it: put chromium on the PATH")


def said(code: str) -> str:
    """Return what a line of Python prints in .venv."""
    return subprocess.run(
        [python(), "-c", code], cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8", check=True
    ).stdout.strip()


def python(folder: Path = VENV) -> Path:
    """Return the Python of a virtual environment."""
    return folder / SCRIPTS / f"python{EXE}"


def environment(folder: Path, interpreter: str) -> Path:
    """Create a virtual environment with that Python unless it exists, and return its Python."""
    if not python(folder).exists():
        run(interpreter, "-m", "venv", folder)
    return python(folder)


def newest(tensorflow: str, folder: Path, extras: str) -> Path:
    """Install a TensorFlow and the newest versions of everything else, without the lock file; return its Python."""
    asked = os.environ.get("LATEST") or NEWEST
    latest = environment(folder, find_python(asked.removeprefix("python")) if not os.path.isfile(asked) else asked)
    run(latest, *PIP, "--upgrade", "--editable", f"{ROOT}[{extras}]", f"tensorflow=={tensorflow}.*")
    return latest


def find_python(version: str) -> str:
    """Return a Python of that version that actually starts; a pyenv shim on the PATH may not."""
    names = [Path(folder) / f"python{version}{EXE}" for folder in os.get_exec_path()]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates: list[Sequence[str | Path]] = [[name] for name in [sys.executable, *names, *_of_pyenv(pyenv, version)]]
    code = "import sys; print(sys.executable if sys.version.startswith(sys.argv[1] + '.') else '')"
    for candidate in [*candidates, ["py", f"-{version}"]]:
        try:
            done = subprocess.run([*candidate, "-c", code, version], capture_output=True, encoding="utf-8", check=False)
        except OSError:
            continue
        if done.returncode == 0 and done.stdout.strip():
            return done.stdout.strip()
    sys.exit(f"no working Python {version} was found: install it, or set LATEST=/path/to/python")


def _of_pyenv(versions: Path, version: str) -> list[Path]:
    return sorted(versions.glob(f"{version}.*/{SCRIPTS}/python{EXE}"))


def optional() -> set[str]:
    """Return the names of the extras in pyproject.toml."""
    import tomllib

    return set(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"])


if __name__ == "__main__":
    main()
