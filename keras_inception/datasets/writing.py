"""`write_shards`: write a dataset as TFRecord shards in TF-slim's convention, which other tools read too."""

import hashlib
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_inception.datasets.examples import Examples, fingerprint
from keras_inception.datasets.records import Keys, make_index, save_index
from keras_inception.datasets.shards import LABELS, MANIFEST, read_manifest
from keras_inception.datasets.sources import open_data
from keras_inception.datasets.splits import Progress, Splits
from keras_inception.datasets.tables import Columns
from keras_inception.utils import files

KEYS = Keys()
MOST = 99999  # file names have five digits


def check_shards(shards: int) -> None:
    """Raise ValueError unless the number of shards is in range."""
    if not 1 <= shards <= MOST:
        raise ValueError(f"`shards` must be from 1 to {MOST}. Received: shards={shards}")


def write_shards(
    source: str | os.PathLike,
    output: str | os.PathLike,
    *,
    root: str | os.PathLike | None = None,
    columns: Columns | None = None,
    shards: int = 8,
    strict: bool = False,
    on_scan: Progress | None = None,
    on_write: Progress | None = None,
    on_check: Progress | None = None,
) -> dict:
    """Write each split of a dataset as TFRecord shards ``train-00000-of-00008.tfrecord``; `open_data` reads them.

    A record is a `tf.train.Example` of image/encoded, image/format, image/class/label (from 0), image/class/text and
    image/filename. JPEG and PNG files that TensorFlow decodes are copied; others are stored as lossless PNG. Images are
    distributed over the shards by a hash of their names, so each shard is a sample of the whole split. The folder also
    has ``labels.txt``, an index, and ``shards.json`` with the number of images, size and SHA-256 of each shard.

    A call that was killed at any moment can be repeated: existing shards are verified by their hash, not rewritten. At
    the end, all shards are read back to verify their checksums, counts and images.

    Args:
        source: as for `open_data`. No validation split is held out; `open_data` does so when it opens the shards.
        output: the folder, new or from an interrupted call with the same images.
        root: as for `open_data`.
        columns: as for `open_data`.
        shards: number of shards per split; fewer if the split has fewer images.
        strict: raise an error for an unreadable image instead of skipping it.
        on_scan: called with (images examined, total images).
        on_write: called with (images written, total images).
        on_check: called with (shards read back, total shards).

    Returns:
        The content of ``shards.json``: "shards"; "pictures", a fingerprint of each split; "files", with "pictures",
        "bytes", "sha256" and "fingerprint" by name; and "skipped", the skipped files with reasons.

    Raises:
        ValueError: as for `open_data`, or `output` holds other files, or what was read back differs from what was
            written.
        OSError: a shard cannot be written, for example because the disk is full. No partial shard is left under its
            final name.
    """
    check_shards(shards)
    output = Path(output)
    if os.path.isdir(source) and output.resolve().is_relative_to(Path(source).resolve()):
        raise ValueError(f"`output` must be outside of the images in {source}. Received: {output}")
    splits = open_data(source, root=root, columns=columns, validation=0, strict=strict, progress=on_scan)
    work = _Work(splits, output, shards)
    work.write(on_write)
    return work.check(on_check)


class _Shard(NamedTuple):
    name: str
    examples: Examples  # in their order in the shard


class _Work:
    """The shards to write, and the manifest of those already written."""

    def __init__(self, splits: Splits, output: Path, shards: int):
        self.class_names, self.output = splits.labels, output
        every = {split: examples for split, examples in splits.named().items() if len(examples)}
        self.shards = [shard for split, examples in every.items() for shard in _spread(split, examples, shards)]
        pictures = {split: examples.fingerprint() for split, examples in every.items()}
        planned = {"complete": False, "shards": shards, "pictures": pictures, "files": {}, "skipped": splits.skipped}
        self.manifest = self._begun(planned)
        self.lock = threading.Lock()

    def _begun(self, planned: dict) -> dict:
        """Return the existing manifest, or write and return the planned one."""
        if not (self.output / MANIFEST).is_file():
            if self.output.exists() and any(self.output.iterdir()):
                raise ValueError(f"{self.output} is not empty and holds no unfinished shards: choose another folder")
            files.write_json(self.output / MANIFEST, planned)
            return planned
        begun = read_manifest(self.output)
        if begun["shards"] != planned["shards"]:
            raise ValueError(f"{self.output} was started with {begun['shards']} shards. Received: {planned['shards']}")
        changed = [split for split in planned["pictures"] if begun["pictures"].get(split) != planned["pictures"][split]]
        if changed or begun["pictures"].keys() != planned["pictures"].keys():
            raise ValueError(
                f"{self.output} was started with other images: they have changed since, "
                f"in {', '.join(changed) or 'their splits'}. Remove it, or choose another folder"
            )
        return begun

    def write(self, progress: Progress | None) -> None:
        """Write the shards that do not exist yet."""
        total, done = sum(len(shard.examples) for shard in self.shards), 0

        def count(number: int) -> None:
            nonlocal done
            with self.lock:
                done += number
                if progress:
                    progress(done, total)

        def write(shard: _Shard) -> None:
            path, known = self.output / shard.name, self.manifest["files"].get(shard.name)
            if known and path.is_file() and files.sha256(path) == known["sha256"]:
                return count(len(shard.examples))
            entry = _write(path, shard.examples, self.class_names, count)
            with self.lock:
                self.manifest["files"][shard.name] = entry
                files.write_json(self.output / MANIFEST, self.manifest)

        with ThreadPoolExecutor() as pool:  # decoding and writing release the GIL
            list(pool.map(write, self.shards))  # an error cancels the shards that have not started

    def check(self, progress: Progress | None) -> dict:
        """Read all shards back, then mark the folder as complete."""
        entries = self.manifest["files"]
        paths = [str(self.output / shard.name) for shard in self.shards]
        index = make_index(paths, KEYS, sound=True, progress=progress)
        for number, (path, shard) in enumerate(zip(paths, self.shards, strict=True)):
            found = index.records.select(np.flatnonzero(index.records.shard == number))
            if len(found) != len(shard.examples) or found.fingerprint() != entries[shard.name]["fingerprint"]:
                raise ValueError(f"{path} does not hold the images that were written: remove it and call again")
        files.write_labels(self.output / LABELS, self.class_names)
        save_index(index)
        self.manifest["complete"] = True
        files.write_json(self.output / MANIFEST, self.manifest)
        files.remove_unfinished(self.output)
        return self.manifest


def _spread(split: str, examples: Examples, shards: int) -> Iterator[_Shard]:
    count = min(shards, len(examples))
    hashes = [hashlib.sha256(os.fsencode(key)).digest() for key in examples.keys]
    order = sorted(range(len(examples)), key=hashes.__getitem__)
    for number in range(count):
        yield _Shard(f"{split}-{number:05}-of-{count:05}.tfrecord", examples.select(order[number::count]))


def _write(path: Path, examples: Examples, class_names: tuple[str, ...], count: Callable[[int], None]) -> dict:
    """Write a shard and return its entry in the manifest; "fingerprint" is that of its `Records`."""
    import tensorflow as tf

    rows = []
    try:
        with files.replacing(path) as beside, tf.io.TFRecordWriter(os.fspath(beside)) as writer:
            for index, (key, label) in enumerate(zip(examples.keys, examples.labels.tolist(), strict=True)):
                content = examples.encoded(index)
                writer.write(_example(content, label, class_names[label], key))
                rows.append((key, label, zlib.crc32(content)))
                count(1)
    except tf.errors.OpError as error:
        raise OSError(f"{path} cannot be written: {error.message.rpartition('; ')[2]}") from None
    size, sha256 = path.stat().st_size, files.sha256(path)
    return {"pictures": len(rows), "bytes": size, "sha256": sha256, "fingerprint": fingerprint(rows)}


def _example(content: bytes, label: int, text: str, key: str) -> bytes:
    import tensorflow as tf

    values = {
        KEYS.image: content,
        "image/format": b"jpeg" if content.startswith(b"\xff\xd8") else b"png",
        KEYS.text: text.encode(),
        KEYS.filename: os.fsencode(key),
    }
    example = tf.train.Example()
    example.features.feature[KEYS.label].int64_list.value.append(label)
    for name, value in values.items():
        example.features.feature[name].bytes_list.value.append(value)
    return example.SerializeToString(deterministic=True)
