"""Install the npm packages of the page, in the versions of its lock file, once into a cache."""

import shutil
import subprocess
from pathlib import Path

from keras_inception.utils import files
from keras_inception.utils.subprocesses import start

WEB = Path(__file__).with_name("static")
LOCK = ("package.json", "package-lock.json")


def packages() -> Path:
    """Return the ``node_modules`` folder, installed by npm if it is not in the cache yet.

    Each version of the lock file has its own folder in `files.cache`.

    Raises:
        FileNotFoundError: npm is not installed.
        OSError: npm cannot install the packages; the message quotes its last lines.
    """
    folder = files.cache() / "npm" / files.sha256(WEB / LOCK[-1])[:16]
    if not folder.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise FileNotFoundError("the page's packages are installed by npm, which is missing: install Node.js")
        with files.new_folder(folder) as new:
            for name in LOCK:
                shutil.copyfile(WEB / name, new / name)
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            with start(command, cwd=new, encoding="utf-8", **pipes) as process:
                output, errors = process.communicate()
            if process.returncode:
                last = [line for line in (errors + output).splitlines() if line.strip()][-2:]
                raise OSError(f"npm ci ended with exit code {process.returncode}: {' / '.join(last) or 'no message'}")
    return folder / "node_modules"
