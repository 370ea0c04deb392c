"""The npm packages of the page in the browser, as its lock file has them, taken once into a cache."""

import shutil
import subprocess
from pathlib import Path

from keras_inception.utils import files

WEB = Path(__file__).with_name("static")
LOCK = ("package.json", "package-lock.json")


def packages() -> Path:
    """The ``node_modules`` folder; npm is asked for it if it is not in the cache yet.

    A lock file that changes gets a folder of its own in `files.cache`.

    Raises:
        FileNotFoundError: there is no npm.
        OSError: npm cannot take the packages; the message is its last words.
    """
    folder = files.cache() / "npm" / files.sha256(WEB / LOCK[-1])[:16]
    if not folder.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise FileNotFoundError("the page's packages are taken by npm, which comes with Node.js: it is not here")
        with files.new_folder(folder) as new:
            for name in LOCK:
                shutil.copyfile(WEB / name, new / name)
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
            done = subprocess.run(command, cwd=new, capture_output=True, encoding="utf-8", check=False)
            if done.returncode:
                last = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()][-2:]
                raise OSError(f"npm ci ended with exit code {done.returncode}: {' / '.join(last) or 'no message'}")
    return folder / "node_modules"
