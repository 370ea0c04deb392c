"""Fixtures: a site of a small network with random weights, its server, and Chromium."""

import shutil
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
from networks import small_inception, with_drawn_weights
from PIL import Image
from playwright.sync_api import expect, sync_playwright

import keras_inception
from keras_inception import datasets
from keras_inception.page import site as pages
from keras_inception.preprocessing import DEFAULT

SIZE = 64
PREPROCESSING = DEFAULT.replace(size=(SIZE, SIZE), crop=0.9, interpolation="bicubic")
expect.set_options(timeout=60_000)
QUIET = [  # otherwise Chromium contacts hosts that cannot be reached
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


@pytest.fixture(scope="session")
def pictograms(tmp_path_factory) -> Path:
    return datasets.pictograms(tmp_path_factory.mktemp("data") / "pictograms")


@pytest.fixture(scope="session")
def pictures(pictograms, tmp_path_factory) -> list[Path]:
    """28 of the test images, in various sizes, formats and orientations."""
    folder = tmp_path_factory.mktemp("pictures")
    found = sorted((pictograms / "test").rglob("*.jpg"))[:: 1202 // 28][:28]
    chance = np.random.default_rng(0)
    made = []
    for number, path in enumerate(found):
        image = Image.open(path).convert("RGB").resize(tuple(map(int, chance.integers(31, 400, 2))))
        options = {}
        if number < 8:
            options["exif"] = Image.Exif()
            options["exif"][0x0112] = number + 1
        if number in (8, 9, 10):
            alpha = np.linspace(0, 255, image.width * image.height).reshape(image.size[::-1])
            image.putalpha(Image.fromarray(alpha.astype(np.uint8)))
        if number == 11:
            image = image.convert("P")
        if number == 12:
            image = image.convert("L")
        suffix = "png" if number in range(8, 13) else ("jpg", "png", "webp")[number % 3]
        if suffix == "webp":
            options["lossless"] = True  # decoders of lossy WebP can differ by one level
        made.append(folder / f"{number:02}.{suffix}")
        image.save(made[-1], **options)
    return made


@pytest.fixture(scope="session")
def exported(pictograms, tmp_path_factory) -> Path:
    """An export of the small network in every variant."""
    labels = sorted(path.name for path in (pictograms / "train").iterdir())
    few = _few(pictograms / "train", tmp_path_factory)
    model = with_drawn_weights(small_inception((SIZE, SIZE, 3), len(labels)))
    _make_undecided(model, [PREPROCESSING(datasets.read_picture(path)) for path in few.iterdir()])
    folder = tmp_path_factory.mktemp("exported") / "all"
    keras_inception.export(
        model,
        folder,
        name="drawn",
        labels=labels,
        preprocessing=PREPROCESSING,
        calibration=few,
        min_agreement=0,
    )
    return folder


def _make_undecided(model, inputs) -> None:
    """Make all classes equally likely on average, but not on a single image."""
    layer = model.get_layer("predictions")
    features = keras.Model(model.inputs, layer.input)(np.stack(inputs))
    logits = np.asarray(features) @ np.asarray(layer.kernel)
    layer.kernel.assign(layer.kernel * 2 / logits.std(axis=0))
    layer.bias.assign(-2 * logits.mean(axis=0) / logits.std(axis=0))


def _few(pictures: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("few")
    for path in sorted(pictures.rglob("*.jpg"))[::100]:
        shutil.copyfile(path, folder / path.name)
    return folder


@pytest.fixture(scope="session")
def site(exported, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "site"
    pages.page(exported, folder)
    return folder


@pytest.fixture
def serve():
    """Return a function that serves a site and returns its address."""
    servers = []

    def start(site, *, isolated=True) -> str:
        servers.append(pages.server(site, isolated=isolated))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://localhost:{servers[-1].server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def chromium():
    path = shutil.which("chromium")
    assert path, "Chromium is needed: make test-web installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", *QUIET, *CAMERA])
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium):
    """A tab in its own window, which can reach only this machine."""
    context = chromium.new_context(viewport={"width": 1000, "height": 900}, permissions=["camera"])
    context.set_default_timeout(60_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def open_page(tab, site, serve):
    """Return a function that opens the page and waits until it can classify."""

    def open_(of=site, *, isolated=True):
        tab.goto(serve(of, isolated=isolated))
        expect(tab.locator("#state")).to_contain_text("thread")
        return tab

    return open_
