"""The page in Chromium: answers, display, and damaged or hostile input."""

import base64
import json
import re
import shutil
import zlib

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from keras_inception import datasets
from keras_inception.exporting.variants import VARIANTS
from keras_inception.tflite.classifier import TFLiteClassifier
from keras_inception.utils import files

pytestmark = pytest.mark.web

TOLERANCES = {variant.name: variant.client_tolerance for variant in VARIANTS.values()} | {"dynamic": 1e-2, "int8": 0}
CLASSIFY = """async ({engine, variant, pictures}) => {
    const {Engine} = await import('./engine.js');
    const site = await (await fetch('site.json')).json();
    const asked = new Engine(engine, site);
    await asked.ready;
    const answers = [];
    for (const picture of pictures) {
        const bytes = Uint8Array.from(atob(picture), (letter) => letter.charCodeAt(0));
        const {probabilities, pixels} = await asked.classify({blob: new Blob([bytes])}, variant);
        answers.push({probabilities: [...probabilities], pixels: [...pixels]});
    }
    return answers;
}"""


def answers(tab, engine, variant, pictures):
    """Return the probabilities and network inputs of images that the page's engine classified."""
    encoded = [base64.b64encode(path.read_bytes()).decode() for path in pictures]
    given = tab.evaluate(CLASSIFY, {"engine": engine, "variant": variant, "pictures": encoded})
    probabilities = np.array([answer["probabilities"] for answer in given], np.float32)
    return probabilities, np.array([answer["pixels"] for answer in given], np.uint8)


def expected(exported, variant, pictures):
    """Return the probabilities and network inputs that `keras-inception predict` computes."""
    classifier = TFLiteClassifier(exported / f"drawn_{variant}.tflite")
    inputs = np.stack([classifier.preprocessing.fit(datasets.read_picture(path)) for path in pictures])
    return classifier.predict(inputs), inputs.reshape(len(inputs), -1)


def headings(tab):
    return tab.locator("#results h3").all_text_contents()


def figures(tab, count=1):
    """Return the lines below the image names, once all images are classified."""
    lines = tab.locator("#results .figures")
    expect(lines).to_have_text([re.compile("^(?!Waiting)")] * count)
    return lines.all_text_contents()


def answered(tab, variant):
    """Wait until the only image has been classified with the file of that variant."""
    expect(tab.locator("#results .figures")).to_contain_text(re.compile(f"^{variant}: "))


@pytest.mark.parametrize("variant", VARIANTS)
def test_scores_equal_those_of_predict(open_page, exported, pictures, variant):
    given, pixels = answers(open_page(), "litert", variant, pictures)
    probabilities, inputs = expected(exported, variant, pictures)
    assert len(set(probabilities.argmax(axis=1))) >= 3, "with fewer classes, parity would prove little"
    np.testing.assert_array_equal(pixels, inputs)
    np.testing.assert_allclose(given, probabilities, rtol=0, atol=TOLERANCES[variant])


@pytest.mark.parametrize("variant", VARIANTS)
def test_mediapipe_gives_the_same_scores(open_page, exported, pictures, variant):
    given, _ = answers(open_page(), "mediapipe", variant, pictures[::4])
    probabilities, _ = expected(exported, variant, pictures[::4])
    np.testing.assert_allclose(given, probabilities, rtol=0, atol=TOLERANCES[variant])


def test_translucent_images_do_not_disturb_mediapipe(open_page, exported, pictures):
    many = [*pictures[8:11], *pictures[8:11], pictures[0]]
    given, _ = answers(open_page(), "mediapipe", "int8", many)
    np.testing.assert_array_equal(given, expected(exported, "int8", many)[0])


def test_the_sample_is_classified(open_page, exported):
    tab = open_page()
    tab.click("#sample")
    assert "float32: " in figures(tab)[0]
    best = files.read_json(exported / "sample.json")["pictures"][0]["top5"]["float32"]
    assert tab.locator(".bars span").all_text_contents() == [row["label"] for row in best]
    shown = [float(text.removesuffix(" %")) for text in tab.locator(".bars output").all_text_contents()]
    assert shown == pytest.approx([100 * row["probability"] for row in best], abs=0.051)
    assert tab.locator("#announcement").text_content().startswith(f"sample.png: {best[0]['label']}, ")
    report = files.read_json(exported / "report.json")["variants"]
    cells = [row.locator("td").all_text_contents() for row in tab.locator("#files tr").all()]
    assert [row[:2] for row in cells] == [[name, f"{row['mb']:.2f}"] for name, row in report.items()]


def test_the_needs_of_phones_are_shown(open_page, exported):
    notes = open_page().locator("#notes li").all_text_contents()
    report = files.read_json(exported / "report.json")["variants"]
    assert [note.split(" needs TensorFlow Lite ")[0] for note in notes] == list(report)
    for row, note in zip(report.values(), notes, strict=True):
        assert f"{row['runtime']['version']} ({row['runtime']['operation']} version " in note
    assert "half precision" in notes[list(report).index("float16")]


def test_another_file_is_compared_with_the_previous_one(open_page):
    tab = open_page()
    tab.click("#sample")
    figures(tab)
    tab.select_option("#variant", "int8")
    answered(tab, "int8")
    rows = [row.locator("td").all_text_contents() for row in tab.locator(".others tbody tr").all()]
    assert [row[0] for row in rows] == ["float32", "int8"]
    assert all(float(row[2]) > 0 for row in rows)
    tab.click("#compare")
    expect(tab.locator(".others tbody tr")).to_have_count(4)
    expect(tab.locator("#compare")).to_be_enabled()
    assert "–" not in [row.locator("td").nth(5).text_content() for row in tab.locator("#files tr").all()]


def test_several_images_with_a_damaged_one_among_them(open_page, pictures, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(pictures[8].read_bytes()[:300])
    tab = open_page()
    tab.set_input_files("#choose", [pictures[0], broken, pictures[9]])
    lines = figures(tab, 3)
    assert headings(tab) == [pictures[9].name, "broken.png", pictures[0].name]
    assert [line.startswith("float32") for line in lines] == [True, False, True]
    assert tab.locator("#results .error").count() == 1


def test_images_can_be_dropped_and_pasted(open_page, pictures):
    tab = open_page()
    content = base64.b64encode(pictures[0].read_bytes()).decode()
    for kind, target in (("drop", "document.getElementById('drop')"), ("paste", "document")):
        tab.evaluate(
            f"""(content) => {{
                const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
                const data = new DataTransfer();
                data.items.add(new File([bytes], '{kind}.jpg'));
                const options = {{bubbles: true, cancelable: true, dataTransfer: data, clipboardData: data}};
                const Kind = '{kind}' === 'drop' ? DragEvent : ClipboardEvent;
                {target}.dispatchEvent(new Kind('{kind}', options));
            }}""",
            content,
        )
    figures(tab, 2)
    assert headings(tab) == ["paste.jpg", "drop.jpg"]


def test_an_image_from_the_camera(open_page):
    tab = open_page()
    tab.click("#camera")
    tab.click("#shoot")
    assert figures(tab)[0].startswith("float32")
    tab.click("#stop")
    assert not tab.is_visible("#viewfinder")


def test_mediapipe_can_be_chosen(open_page):
    tab = open_page()
    tab.click("#sample")
    figures(tab)
    tab.select_option("#engine", "mediapipe")
    expect(tab.locator("#state")).to_have_text("MediaPipe Tasks, one thread")
    assert figures(tab)[0].startswith("float32")


@pytest.mark.parametrize("isolated", [True, False])
def test_threads_where_the_headers_allow(open_page, isolated):
    tab = open_page(isolated=isolated)
    assert tab.evaluate("crossOriginIsolated") == isolated
    state = tab.locator("#state").text_content()
    cores = tab.evaluate("navigator.hardwareConcurrency")
    assert state.endswith("one thread") != (isolated and cores > 1)
    tab.click("#sample")
    assert figures(tab)[0].startswith("float32")


def test_no_other_host_is_contacted(tab, site, serve):
    address, asked = serve(site), []
    tab.on("request", lambda request: asked.append(request.url))
    tab.context.on("request", lambda request: asked.append(request.url))
    tab.goto(address)
    expect(tab.locator("#state")).to_contain_text("thread")
    tab.click("#sample")
    figures(tab)
    tab.select_option("#engine", "mediapipe")
    expect(tab.locator("#state")).to_have_text("MediaPipe Tasks, one thread")
    figures(tab)
    assert len(asked) > 10
    assert [url for url in asked if not url.startswith((address, f"blob:{address}", "data:"))] == []


def test_a_missing_file_is_reported(open_page, site, tmp_path):
    lacking = shutil.copytree(site, tmp_path / "site", copy_function=shutil.copy)
    (lacking / "model" / "drawn_float32.tflite").unlink()
    tab = open_page(lacking)
    tab.click("#sample")
    assert figures(tab) == ["model/drawn_float32.tflite cannot be loaded: the server answered 404"]
    tab.select_option("#variant", "int8")
    answered(tab, "int8")
    assert tab.locator("#results .error").count() == 0


def test_without_webassembly(tab, site, serve):
    tab.add_init_script("delete window.WebAssembly")
    tab.goto(serve(site))
    tab.wait_for_selector("#trouble:not([hidden])")
    assert "does not support WebAssembly" in tab.locator("#trouble").text_content()


def huge_png():
    """Return a PNG of 20,000 × 20,000 pixels in 100 kB."""

    def chunk(kind, content):
        checked = kind + content
        return len(content).to_bytes(4, "big") + checked + zlib.crc32(checked).to_bytes(4, "big")

    header = (20_000).to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])
    rows = zlib.compress(bytes(20_000 * 2501), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


HOSTILE = {
    "script.svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>window.ran = 1</script></svg>',
    "text.jpg": b"no picture at all",
    "empty.png": b"",
    "huge.png": huge_png(),
}


def test_hostile_images_get_a_message_and_run_nothing(open_page, pictures, tmp_path):
    for name, content in HOSTILE.items():
        (tmp_path / name).write_bytes(content)
    tab = open_page()
    tab.set_input_files("#choose", [*(tmp_path / name for name in HOSTILE), pictures[0]])
    lines = figures(tab, 1 + len(HOSTILE))
    assert lines[0].startswith("float32"), "the image after the hostile ones is classified"
    assert tab.locator("#results .error").count() == len(HOSTILE)
    assert all("picture" in line for line in lines[1:]), lines
    assert tab.evaluate("window.ran") is None


def test_class_names_are_text_and_never_markup(open_page, site, tmp_path):
    copied = shutil.copytree(site, tmp_path / "site", copy_function=shutil.copy)
    known = json.loads((copied / "site.json").read_text())
    known["labels"] = ['<img src=x onerror="window.ran = 1"><b>bold</b>'] * len(known["labels"])
    known["name"] = "<script>window.ran = 1</script>"
    (copied / "site.json").write_text(json.dumps(known))
    tab = open_page(copied)
    tab.click("#sample")
    figures(tab)
    assert tab.locator(".bars span").first.text_content() == known["labels"][0]
    assert tab.locator("h1").text_content() == known["name"]
    assert tab.locator("#results img, #results b, h1 script").count() == 0
    assert tab.evaluate("window.ran") is None


def test_below_the_threshold_the_page_says_that_it_is_not_sure(open_page, site, exported, tmp_path):
    best = [row["probability"] for row in files.read_json(exported / "sample.json")["pictures"][0]["top5"]["float32"]]
    for name, threshold, sure in (("sure", best[0] - 1e-3, True), ("unsure", best[0] + 1e-3, False)):
        copied = shutil.copytree(site, tmp_path / name, copy_function=shutil.copy)
        files.write_json(copied / "site.json", files.read_json(copied / "site.json") | {"not_sure": threshold})
        tab = open_page(copied)
        assert f"Below {100 * threshold:.1f} % it says that it is not sure." in tab.locator("#about").text_content()
        tab.click("#sample")
        figures(tab)
        assert tab.locator("#results .unsure").is_visible() != sure
        assert ("not sure, perhaps" in tab.locator("#announcement").text_content()) != sure
        assert tab.locator(".bars li").count() == 5, "the guesses are shown all the same"
    tab = open_page()
    tab.click("#sample")
    figures(tab)
    assert not tab.locator("#results .unsure").is_visible()
    assert "not sure" not in tab.locator("#about").text_content()


def test_the_keyboard_is_enough(open_page):
    tab = open_page()
    reached = []
    for _ in range(7):
        tab.keyboard.press("Tab")
        reached.append(tab.evaluate("document.activeElement.id"))
    assert [name for name in reached if name] == ["choose", "sample", "camera", "variant", "engine", "compare"]
    tab.focus("#sample")
    tab.keyboard.press("Enter")
    assert figures(tab)[0].startswith("float32")
    tab.focus("#variant")
    tab.keyboard.press("ArrowDown")
    answered(tab, "float16")


def test_everything_has_a_name_for_screen_readers(open_page):
    tab = open_page()
    tab.click("#sample")
    figures(tab)
    names = tab.evaluate(
        """[...document.querySelectorAll('button, input, select, meter, canvas')].map(
            (each) => each.ariaLabel || each.labels?.[0]?.textContent.trim() || each.textContent.trim())"""
    )
    assert len(names) >= 12
    assert all(names)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_in_light_and_dark(chromium, site, serve, scheme):
    context = chromium.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    tab = context.new_page()
    tab.goto(serve(site))
    tab.click("#sample")
    figures(tab)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    background = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    levels = [int(level) for level in background.removeprefix("rgb(").removesuffix(")").split(",")]
    assert (np.mean(levels) > 128) == (scheme == "light")
    context.close()


def test_a_very_large_image_does_not_freeze_the_page(open_page, tmp_path):
    Image.new("RGB", (6000, 5000), "teal").save(tmp_path / "large.png")
    tab = open_page()
    tab.evaluate("window.frames_drawn = 0; (function count() { frames_drawn++; requestAnimationFrame(count); })()")
    tab.set_input_files("#choose", tmp_path / "large.png")
    before = tab.evaluate("frames_drawn")
    assert figures(tab)[0].startswith("float32")
    assert tab.evaluate("frames_drawn") > before + 3
