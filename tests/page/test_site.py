"""`page`: content of the site, errors, and the server. The page itself is tested in tests/web."""

import json
import shutil
import subprocess
import sys
import threading
import urllib.request

import numpy as np
import pytest

from keras_inception.cli import main
from keras_inception.exporting.variants import VARIANTS
from keras_inception.page import npm
from keras_inception.page import site as page
from keras_inception.utils import files


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A ``node_modules`` folder with the files that the site needs."""
    folder = tmp_path / "node_modules"
    for pattern in page.PACKAGES:
        path = folder / pattern.replace("*", "wasm")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('import {createWasmLib} from "@litertjs/wasm-utils";')
    monkeypatch.setattr(npm, "packages", lambda: folder)
    return folder


@pytest.fixture
def copied(exported, tmp_path):
    """A copy of the export that tests can damage."""
    return shutil.copytree(exported[0], tmp_path / "exported")


def test_the_site_has_everything_that_the_page_loads(exported, packages, tmp_path):
    folder, _ = exported
    site = page.page(folder, tmp_path / "site")
    assert files.read_json(tmp_path / "site" / "site.json") == site
    assert list(site["variants"]) == list(VARIANTS)
    assert tuple(site["labels"]) == files.read_labels(folder / "labels.txt")
    for variant, row in site["variants"].items():
        copy = tmp_path / "site" / row["path"]
        assert copy.read_bytes() == (folder / f"colours_{variant}.tflite").read_bytes()
        assert row["dtype"] == ("uint8" if variant == "int8" else "float32")
    assert site["variants"]["int8"]["output"] == {"scale": 1 / 256, "zeroPoint": 0}
    assert (tmp_path / "site" / site["sample"]).is_file()
    present = {path.name for path in (tmp_path / "site").iterdir()}
    assert {"index.html", "app.js", "worker.js", "style.css"} <= present
    assert not present & {"package.json", "package-lock.json", "node_modules"}
    assert "@litertjs" not in (tmp_path / "site" / "litert" / "index.js").read_text(), "a worker has no import map"


def test_a_refused_variant_is_left_out(copied, packages, tmp_path):
    report = files.read_json(copied / "report.json")
    report["variants"]["dynamic"] = {"refused": "it gives NaN"}
    files.write_json(copied / "report.json", report)
    assert list(page.page(copied, tmp_path / "site")["variants"]) == ["float32", "float16", "int8"]


def test_files_that_browsers_do_not_accept_are_left_out(copied, packages, tmp_path, monkeypatch):
    of_int8 = property(lambda self: np.int8 if self.takes_bytes else np.float32)
    monkeypatch.setattr(page.TFLiteClassifier, "output_type", of_int8)
    assert list(page.page(copied, tmp_path / "site")["variants"]) == ["float32", "float16", "dynamic"]
    monkeypatch.setattr(page.TFLiteClassifier, "output_type", np.int8)
    with pytest.raises(ValueError, match="has no file for browsers: they accept no int8 input or output"):
        page.page(copied, tmp_path / "other")


def test_it_says_what_phones_need_and_whether_half_precision_was_tried(copied, packages, tmp_path):
    report = files.read_json(copied / "report.json")
    rows = page.page(copied, tmp_path / "site")["variants"]
    assert [variant for variant in rows if "half_precision" in rows[variant]] == ["float16"]
    assert rows["float16"]["needs"] == "TensorFlow Lite 1.15.0 (DEQUANTIZE version 3)"
    found = report["variants"]["float16"]["half_precision"]
    assert found["allowed"]
    assert rows["float16"]["half_precision"].startswith("phones may compute it in half precision, ")
    assert rows["float16"]["half_precision"].count("; on ARM it was not run.") == 1
    found["arm64"] = {"images": 20, "agreement": 1.0, "max_difference": 0.002, "tolerance": 0.05}
    files.write_json(copied / "report.json", report)
    noted = page.page(copied, tmp_path / "proven")["variants"]["float16"]["half_precision"]
    assert "It is proven on an emulated ARM processor" in noted
    del report["variants"]["float16"]["half_precision"]
    files.write_json(copied / "report.json", report)
    noted = page.page(copied, tmp_path / "not tried")["variants"]["float16"]["half_precision"]
    assert noted == "phones compute it in float32, since half precision was not tried."
    report["variants"]["float16"]["half_precision"] = {"allowed": True, "largest_sum": "1", "layer": "", "agreement": 1}
    files.write_json(copied / "report.json", report)
    with pytest.raises(ValueError, match=r"is not a report of `export`"):
        page.page(copied, tmp_path / "damaged")


def test_the_threshold_for_not_sure_is_that_of_the_export(copied, packages, tmp_path):
    report = files.read_json(copied / "report.json")
    assert page.page(copied, tmp_path / "always")["not_sure"] is None
    files.write_json(copied / "report.json", report | {"not_sure": 0.6})
    assert page.page(copied, tmp_path / "site")["not_sure"] == 0.6
    del report["not_sure"]  # of an export by an earlier version
    files.write_json(copied / "report.json", report)
    assert page.page(copied, tmp_path / "earlier")["not_sure"] is None


@pytest.mark.parametrize("name", ["report.json", "sample.png", "colours_int8.tflite"])
def test_a_missing_file_is_named(copied, packages, tmp_path, name):
    (copied / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        page.page(copied, tmp_path / "site")
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize(
    ("report", "says"),
    [
        ("[]", "is not a report of `export`"),
        ("{}", "is not a report of `export`: KeyError"),
        ('{"top1": null, "pictures": 0, "variants": {}}', "must list at least one exported file"),
        ('{"top1": null, "pictures": 0, "not_sure": 60, "variants": {}}', "must be null or a number between 0 and 1"),
        ("{", "is not a JSON file"),
    ],
)
def test_an_invalid_report_is_refused(copied, packages, tmp_path, report, says):
    (copied / "report.json").write_text(report)
    with pytest.raises(ValueError, match=says):
        page.page(copied, tmp_path / "site")


def test_a_report_cannot_name_files_in_other_folders(copied, packages, tmp_path):
    report = files.read_json(copied / "report.json")
    report["variants"]["int8"]["path"] = "../../secret"
    files.write_json(copied / "report.json", report)
    with pytest.raises(ValueError, match=r"must name files in its own folder\. Received: '\.\./\.\./secret'"):
        page.page(copied, tmp_path / "site")


def test_only_a_site_can_be_overwritten(exported, packages, tmp_path):
    folder, _ = exported
    page.page(folder, tmp_path / "site")
    (tmp_path / "site" / "old").touch()
    with pytest.raises(FileExistsError, match="exists: choose another folder, or overwrite it"):
        page.page(folder, tmp_path / "site")
    page.page(folder, tmp_path / "site", overwrite=True)
    assert not (tmp_path / "site" / "old").exists()
    (tmp_path / "other").mkdir()
    with pytest.raises(FileExistsError, match=r"is not a site and will not be overwritten: it has no site\.json"):
        page.page(folder, tmp_path / "other", overwrite=True)


def test_a_missing_package_is_named_and_nothing_is_written(exported, packages, tmp_path):
    shutil.rmtree(packages / "@mediapipe")
    with pytest.raises(FileNotFoundError, match="has no @mediapipe/tasks-vision/vision_bundle"):
        page.page(exported[0], tmp_path / "site")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["node_modules"]


def test_missing_npm_is_an_error(exported, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SystemExit) as stop:
        main(["page", str(exported[0]), "--output", str(tmp_path / "site")])
    assert stop.value.code == 1
    assert "installed by npm, which is missing: install Node.js" in capsys.readouterr().err
    assert not (tmp_path / "site").exists()


def test_a_failure_of_npm_is_quoted_and_nothing_is_kept(tmp_path, monkeypatch):
    def start(command, cwd, **options):
        (cwd / "node_modules").mkdir()
        failing = "import sys; sys.exit('npm error code EAI_AGAIN\\nnpm error no network')"
        return subprocess.Popen([sys.executable, "-c", failing], **options)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(npm, "start", start)
    with pytest.raises(OSError, match="npm ci ended with exit code 1: npm error code EAI_AGAIN / npm error no network"):
        npm.packages()
    assert [path for path in (tmp_path / "keras-inception" / "npm").iterdir()] == []


def test_the_lock_file_has_versions_and_hashes_but_no_hosts():
    lock = json.loads((npm.WEB / "package-lock.json").read_text())["packages"]
    wanted = json.loads((npm.WEB / "package.json").read_text())["dependencies"]
    assert {name: lock[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    for name, row in lock.items():
        assert "resolved" not in row
        assert not name or row["integrity"].startswith("sha512-")


@pytest.mark.parametrize("isolated", [True, False])
def test_the_server_sends_the_headers_that_allow_threads(exported, packages, tmp_path, isolated):
    page.page(exported[0], tmp_path / "site")
    with page.server(tmp_path / "site", isolated=isolated) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://localhost:{server.server_port}"
        with urllib.request.urlopen(f"{address}/litert/litert_wasm_internal.wasm") as answer:
            kind, headers = answer.headers["Content-Type"], dict(answer.headers)
        server.shutdown()
    assert kind == "application/wasm"
    assert {name: headers.get(name) for name in page.ISOLATED} == {
        name: value if isolated else None for name, value in page.ISOLATED.items()
    }


def test_a_folder_that_is_not_a_site_is_not_served(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must be a folder that `page` wrote: it has no site\.json"):
        page.server(tmp_path)


def test_a_port_that_is_in_use(tmp_path):
    (tmp_path / "site.json").write_text("{}")
    with page.server(tmp_path) as server, pytest.raises(OSError, match=f"cannot serve on port {server.server_port}"):
        page.server(tmp_path, server.server_port)
