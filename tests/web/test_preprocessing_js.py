"""Page modules that need no browser, run in Node.js: they give the same bytes as Pillow and `Preprocessing`."""

import dataclasses
import io
import json
import random
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from pixels import Stored, drawn, published_cases, random_cases

from keras_inception import Preprocessing
from keras_inception.preprocessing import NAMED

pytestmark = pytest.mark.web

MODULES = Path(__file__).parents[2] / "keras_inception" / "page" / "static"
KINDS = ("JPEG", "PNG", "WEBP")
FIT = """
let at = 0;
for (const { height, width, preprocessing } of cases) {
  const data = input.subarray(at, (at += height * width * 3));
  const fitted = fit({ data, width, height }, preprocessing);
  output.push(fitted, new Uint8Array(normalize(fitted, preprocessing).buffer));
}
"""
HEADS = """
let at = 0;
for (const length of cases) {
  const bytes = input.subarray(at, (at += length));
  output.push(Buffer.from(JSON.stringify([orientation(bytes), size(bytes)]) + "\\n"));
  withoutExif(bytes);
}
"""


def in_node(folder: Path, script: str, cases: list, contents: bytes) -> bytes:
    """Run a script on `cases` and the bytes `input` in one process, and return the bytes that it pushes to `output`."""
    (folder / "cases.json").write_text(json.dumps(cases))
    (folder / "input").write_bytes(contents)
    whole = f"""
    import {{ readFileSync, writeFileSync }} from "node:fs";
    import {{ fit, normalize }} from "{MODULES.as_uri()}/preprocessing.js";
    import {{ orientation, size, withoutExif }} from "{MODULES.as_uri()}/exif.js";
    import {{ beforeWhite, turned }} from "{MODULES.as_uri()}/decode.js";
    const [cases, input, output] = [JSON.parse(readFileSync("cases.json")), readFileSync("input"), []];
    {script}
    writeFileSync("output", Buffer.concat(output));
    """
    node = subprocess.run(
        ["node", "--input-type=module", "-e", whole],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert node.returncode == 0, node.stderr
    return (folder / "output").read_bytes()


def assert_fitted_alike(folder: Path, cases: list[tuple[np.ndarray, Preprocessing]]) -> None:
    told = [
        {"height": picture.shape[0], "width": picture.shape[1], "preprocessing": dataclasses.asdict(preprocessing)}
        for picture, preprocessing in cases
    ]
    output = io.BytesIO(in_node(folder, FIT, told, b"".join(picture.tobytes() for picture, _ in cases)))
    for picture, preprocessing in cases:
        fitted = preprocessing.fit(picture)
        normalized = preprocessing.normalize(fitted.astype(np.float32))
        case = f"{picture.shape} {preprocessing}"
        received = np.frombuffer(output.read(fitted.size), np.uint8).reshape(fitted.shape)
        np.testing.assert_array_equal(received, fitted, case)
        assert output.read(normalized.nbytes) == np.ascontiguousarray(normalized, np.float32).tobytes(), case
    assert output.read() == b""


def upright(cases: list[tuple[Stored, Preprocessing]]) -> list[tuple[np.ndarray, Preprocessing]]:
    """Return upright pictures in color, which is what these modules take."""
    return [
        (picture.upright(), given.replace(channels="RGB") if given.channels == "gray" else given)
        for picture, given in cases
    ]


@pytest.mark.parametrize("seed", range(3))
def test_images_are_fitted_and_normalized_to_the_byte(tmp_path, seed):
    assert_fitted_alike(tmp_path, upright(random_cases(seed)))


def test_the_publishers_preprocessing_is_the_same_to_the_byte(tmp_path):
    assert_fitted_alike(tmp_path, upright(published_cases()))


def test_the_old_name_of_a_fitting_is_understood(tmp_path):
    picture, preprocessing = drawn((61, 97, 3), np.random.default_rng(0)), NAMED["inception"].replace(size=(32, 48))
    old = {**dataclasses.asdict(preprocessing), "fitting": "slim"}
    output = in_node(tmp_path, FIT, [{"height": 61, "width": 97, "preprocessing": old}], picture.tobytes())
    assert output[: 32 * 48 * 3] == preprocessing.fit(picture).tobytes()


def test_only_the_kept_part_of_a_large_image_is_resized(tmp_path):
    generator = np.random.default_rng(0)
    cases = [
        (drawn((*shape, 3), generator), Preprocessing(size=(224, 224), crop=0.875, fitting="shorter", **resize))
        for shape in ((2, 900), (900, 2))
        for resize in ({}, {"antialias": False}, {"interpolation": "nearest"}, {"interpolation": "lanczos"})
    ]
    assert_fitted_alike(tmp_path, cases)


def heads(folder: Path, files: list[bytes]) -> list[tuple[int, dict | None]]:
    """Return the orientation and size of each file, as the page finds them."""
    lines = in_node(folder, HEADS, [len(file) for file in files], b"".join(files)).splitlines()
    assert len(lines) == len(files)
    return [tuple(json.loads(line)) for line in lines]


def encoded(kind: str, image: Image.Image | None = None, **options) -> bytes:
    file = io.BytesIO()
    (image or Image.new("RGB", (13, 7), "red")).save(file, kind, **options)
    return file.getvalue()


def with_orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010E] = "a description too long to stand in its entry"
    exif[0x0112] = value
    return exif


def by_pillow(file: bytes) -> int:
    with Image.open(io.BytesIO(file)) as image:
        image.load()
        return image.getexif().get(0x0112, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_orientation_is_the_same_as_pillows(tmp_path, kind):
    files = [encoded(kind, exif=with_orientation(value)) for value in range(1, 9)]
    little_endian = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    files += [encoded(kind), encoded(kind, exif=b"Exif\0\0" + little_endian)]
    assert [by_pillow(file) for file in files] == [*range(1, 9), 1, 6]
    expected = [(turn, {"width": 13, "height": 7, "type": kind}) for turn in [*range(1, 9), 1, 6]]
    assert heads(tmp_path, files) == expected


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_exif_is_read_like_pillow_and_orientations_beyond_eight_are_ignored(tmp_path, kind):
    block = with_orientation(6).tobytes()
    blocks = [block[:length] for length in range(6, len(block))]
    chance = random.Random(0)
    for _ in range(300):
        damaged = bytearray(block)
        damaged[chance.randrange(6, 40)] = chance.randrange(256)
        blocks.append(bytes(damaged))
    files = [encoded(kind, exif=bytes(each)) for each in blocks]
    expected = []
    for file in files:
        try:
            value = by_pillow(file)
        except Exception:  # Pillow can raise anything; the reader then assumes upright
            value = 1
        expected.append(value if value in range(1, 9) else 1)
    assert 6 in expected
    assert 1 in expected
    assert [turn for turn, _ in heads(tmp_path, files)] == expected


def test_a_block_over_two_segments_is_read_as_one(tmp_path):
    file = encoded("JPEG", exif=with_orientation(6))
    at = file.index(b"Exif\0\0")
    length = int.from_bytes(file[at - 2 : at]) - 2
    block = file[at + 6 : at + length]
    halves = [b"Exif\0\0" + half for half in (block[:14], block[14:])]
    segments = b"".join(b"\xff\xe1" + (len(half) + 2).to_bytes(2) + half for half in halves)
    split = file[: at - 4] + segments + file[at + length :]
    assert by_pillow(split) == 6
    assert heads(tmp_path, [split]) == [(6, {"width": 13, "height": 7, "type": "JPEG"})]


def test_orientation_in_xmp_counts_where_exif_has_none(tmp_path):
    xmp = b'<rdf:Description tiff:Orientation="8"/>'
    files = [encoded("JPEG", xmp=xmp), encoded("WEBP", xmp=xmp), encoded("JPEG", xmp=xmp, exif=with_orientation(3))]
    assert [by_pillow(file) for file in files] == [8, 8, 3]
    assert [turn for turn, _ in heads(tmp_path, files)] == [8, 8, 3]


@pytest.mark.parametrize("kind", KINDS)
def test_without_exif_every_decoder_reads_the_same_upright_pixels(tmp_path, kind):
    noise = Image.fromarray(drawn((20, 30, 3), np.random.default_rng(0)))
    file = encoded(kind, noise, exif=with_orientation(6))
    with Image.open(io.BytesIO(file)) as image:
        pixels = image.tobytes()
    stripped = in_node(tmp_path, "output.push(...withoutExif(input));", [], file)
    with Image.open(io.BytesIO(stripped)) as image:
        assert image.tobytes() == pixels
        assert image.getexif().get(0x0112) is None


def test_sizes_are_read_from_the_header(tmp_path):
    image = Image.new("RGB", (300, 17))
    files = {
        "JPEG": encoded("JPEG", image, progressive=True),
        "PNG": encoded("PNG", image),
        "GIF": encoded("GIF", image),
        "BMP": encoded("BMP", image),
    }
    webps = [
        encoded("WEBP", image),
        encoded("WEBP", image, lossless=True),
        encoded("WEBP", image.convert("RGBA"), exif=with_orientation(6)),
    ]
    expected = [{"width": 300, "height": 17, "type": kind} for kind in [*files, "WEBP", "WEBP", "WEBP"]]
    assert [size for _, size in heads(tmp_path, [*files.values(), *webps])] == expected


def test_other_files_have_no_size_and_no_orientation(tmp_path):
    files = [b"", b"\xff", b"hello\n", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"RIFF\0\0\0\0WAVEfmt ", b"BM"]
    assert heads(tmp_path, files) == [(1, None)] * len(files)


def test_damaged_files_never_throw(tmp_path):
    chance = random.Random(0)
    files = []
    for kind in (*KINDS, "GIF", "BMP"):
        options = {"exif": with_orientation(6)} if kind in KINDS else {}
        whole = encoded(kind, **options)
        files += [whole[:length] for length in range(0, len(whole), 3)]
        for _ in range(200):
            damaged = bytearray(whole)
            for _ in range(chance.randint(1, 20)):
                damaged[chance.randrange(len(damaged))] = chance.choice([0, 255, chance.randrange(256)])
            files.append(bytes(damaged))
    for turn, size in heads(tmp_path, files):
        assert turn in range(1, 9)
        assert size is None or (size["width"] > 0 and size["height"] > 0)


def test_images_are_turned_like_pillow(tmp_path):
    pixels = drawn((5, 3, 3), np.random.default_rng(0))
    script = """
    for (const turn of cases) {
      const { data, width, height } = turned({ data: input, width: 3, height: 5 }, turn);
      output.push(Buffer.from([width, height]), data);
    }
    """
    expected = b""
    for turn in range(1, 9):
        image = Image.fromarray(pixels)
        image.getexif()[0x0112] = turn
        upright = ImageOps.exif_transpose(image)
        expected += bytes(upright.size) + upright.tobytes()
    assert in_node(tmp_path, script, list(range(1, 9)), pixels.tobytes()) == expected


def test_translucent_pixels_are_composited_on_white_like_pillow(tmp_path):
    grey, alpha = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    image = Image.fromarray(np.stack([grey, grey, grey, alpha], axis=-1))
    expected = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).getchannel("R").tobytes()
    script = "for (let a = 0; a < 256; a++) output.push(Buffer.from(Array.from(input, (v) => beforeWhite(v, a))));"
    assert in_node(tmp_path, script, [], bytes(range(256))) == expected
