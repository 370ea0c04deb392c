"""An aarch64 Linux userland with Python, NumPy and LiteRT in a folder. Programs run under qemu, without root or binfmt.

Debian 12 packages and PyPI wheels are unpacked, never installed. ``python -m
keras_inception.exporting.clients.arm64_userland`` creates the folder, which takes apt-get, dpkg-deb, pip and a network
connection. The folder stays in the cache and takes 250 MB.
"""

import os
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from keras_inception.utils import files
from keras_inception.utils.subprocesses import run_program

ARM_PACKAGES = [
    "libbz2-1.0",
    "libc6",
    "libexpat1",
    "libffi8",
    "libgcc-s1",
    "liblzma5",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libstdc++6",
    "libuuid1",
    "python3.11-minimal",
    "zlib1g",
]
# qemu with its libraries. qemu-user-static would need none, but does not support plugins.
HOST_PACKAGES = [
    "libcapstone4",
    "libffi8",
    "libglib2.0-0",
    "libgmp10",
    "libgnutls30",
    "libhogweed6",
    "libidn2-0",
    "libnettle8",
    "libnuma1",
    "libp11-kit0",
    "libpcre2-8-0",
    "libtasn1-6",
    "libunistring2",
    "liburing2",
    "qemu-user",
    "zlib1g",
]
WHEELS = ("ai-edge-litert", "numpy")  # in the versions that are installed here
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")

# With dot products and float16, as in phones since 2018. (`max` adds SVE, some of which qemu 7.2 computes wrongly.)
PROCESSOR = "neoverse-n1"
# LiteRT reads the processor's features here; without this file, qemu would show the host's.
CPUINFO = """processor\t: {number}
BogoMIPS\t: 50.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0b
CPU revision\t: 1

"""


class UnavailableError(RuntimeError):
    """The userland cannot be created; the message names what is missing, or is the last line of a program's output."""


def place() -> Path:
    """Return the folder that the userland has or will have."""
    return files.cache() / "arm64" / "_".join(f"{name}-{version(name)}" for name in WHEELS)


def userland() -> Path:
    """Return the folder of the userland; create it if it does not exist.

    Raises:
        UnavailableError: it cannot be created on this machine.
    """
    folder = place()
    if not folder.exists():
        check_host()
        missing = [tool for tool in ("apt-get", "dpkg-deb") if not shutil.which(tool)]
        if missing:
            raise UnavailableError(
                f"apt-get and dpkg-deb of Debian or Ubuntu are needed. Received: no {' and no '.join(missing)}"
            )
        print(f"Unpacking an aarch64 userland into {folder}", file=sys.stderr)
        with files.new_folder(folder) as new:
            _unpack_packages(new)
            _unpack_wheels(new)
            (new / "root" / "proc").mkdir()
            (new / "root" / "proc" / "cpuinfo").write_text("".join(CPUINFO.format(number=number) for number in (0, 1)))
    return folder


def check_host() -> None:
    """Raise UnavailableError if ARM cannot be emulated on this machine."""
    machine = f"{platform.system()} on {platform.machine()}"
    if machine != "Linux on x86_64":
        raise UnavailableError(f"ARM is emulated only on Linux on x86_64. Received: {machine}")


def run(folder: Path, script: Path, job: dict, plugin: Path | None = None) -> str:
    """Run a Python script with the path of a job on the emulated processor (`run_program`).

    Args:
        folder: the userland.
        script: the script.
        job: the job, of JSON types.
        plugin: a plugin of qemu.

    Returns:
        The output of the script and the plugin.

    Raises:
        ChildError: the exit code was not 0.
    """
    root, host = folder / "root", folder / "host"
    command: list[str | Path] = [host / "usr/bin/qemu-aarch64", "-cpu", PROCESSOR, "-L", root, "-U", "LD_LIBRARY_PATH"]
    command += ["-E", f"PYTHONPATH={folder / 'site'}"]
    command += ["-plugin", plugin] if plugin else []
    command += [root / "usr/bin/python3.11", script]
    libraries = ":".join(str(host / place / "x86_64-linux-gnu") for place in ("lib", "usr/lib"))
    return run_program(command, job, "the emulated ARM", {"LD_LIBRARY_PATH": libraries})


def _unpack_packages(folder: Path) -> None:
    """Unpack Debian packages from this machine's sources, with an apt that ignores what is installed."""
    apt = folder / "apt"
    for place in ("state/lists/partial", "cache/archives/partial"):
        (apt / place).mkdir(parents=True)
    (apt / "status").touch()
    (apt / "apt.conf").write_text(
        f'Dir::State "{apt}/state"; Dir::State::status "{apt}/status"; Dir::Cache "{apt}/cache";\n'
        'APT::Architecture "amd64"; APT::Architectures { "amd64"; "arm64"; }; Acquire::Languages "none";\n'
    )
    environment = {**os.environ, "APT_CONFIG": str(apt / "apt.conf")}
    _call(["apt-get", "update"], "apt-get", environment)
    for tree, architecture, packages in (("root", "arm64", ARM_PACKAGES), ("host", "amd64", HOST_PACKAGES)):
        debs = apt / tree
        debs.mkdir()
        names = [f"{package}:{architecture}" for package in packages]
        _call(["apt-get", "download", *names], "apt-get", environment, debs)
        for deb in sorted(debs.iterdir()):
            _call(["dpkg-deb", "--extract", deb, folder / tree], "dpkg-deb")
    shutil.rmtree(apt)


def _unpack_wheels(folder: Path) -> None:
    wheels = folder / "wheels"
    download = ("-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:")
    command = [sys.executable, *download, "--dest", str(wheels)]
    command += ["--implementation", "cp", "--python-version", "3.11"]
    command += [f"--platform={name}" for name in PLATFORMS]
    _call([*command, *(f"{name}=={version(name)}" for name in WHEELS)], "pip")
    for wheel in wheels.iterdir():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / "site")
    shutil.rmtree(wheels)


def _call(
    command: Sequence[str | Path], who: str, env: dict[str, str] | None = None, folder: Path | None = None
) -> None:
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, check=False, encoding="utf-8")
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise UnavailableError(f"{who} ended with exit code {done.returncode}: {last}")


if __name__ == "__main__":
    try:
        print(userland())
    except (UnavailableError, OSError) as error:
        sys.exit(str(error))
