"""Published weights: their descriptions, and downloads from a server of our own."""

import hashlib
import http.server
import os
import re
import signal
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

import pytest
from safetensors.numpy import save

from keras_inception import GoogLeNet, Preprocessing
from keras_inception.registry import NETWORKS
from keras_inception.weights import download, publishers, read_weights
from keras_inception.weights.publishers import PUBLISHED, PUBLISHERS, find

CONTENT = bytes(range(256)) * 40_000  # ten chunks
HASH = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


class Server(http.server.ThreadingHTTPServer):
    """Serve /whole, /truncated, /broken, /chunked and /slow, answer 404 to anything else, and record the requests."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.asked = CONTENT, []

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def address(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        content, kind = self.server.content, urlsplit(self.path).path.strip("/").partition(".")[0]
        self.server.asked.append(kind)
        if kind not in ("whole", "truncated", "broken", "chunked", "slow"):
            self.send_error(404)
            return
        self.send_response(200)
        if kind != "chunked":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if kind == "broken":
            content = content[:-1] + b"\0"
        if kind == "slow":
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            time.sleep(60)
        self.wfile.write(content[:-1] if kind == "truncated" else content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")  # this server is not behind any proxy
    with Server() as server:
        yield server


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Return the download cache, in a temporary folder."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras" / "models" / "keras_inception"


def entry(address, hash=HASH, **changes):
    return PUBLISHED[0]._replace(address=address, hash=hash, **changes)


def test_a_whole_file_is_kept_under_its_name_and_not_downloaded_again(server, home):
    file = entry(server.address("whole.bin?dl=1"))
    assert download.fetch(file) == home / "whole.bin"
    assert (home / "whole.bin").read_bytes() == CONTENT
    assert download.fetch(file) == home / "whole.bin"
    assert server.asked == ["whole"]
    assert [path.name for path in home.iterdir()] == ["whole.bin"]


@pytest.mark.parametrize("algorithm", ["sha256", "md5", "sha1"])
def test_every_kind_of_hash_is_checked_by_its_first_digits_too(algorithm, server, home):
    digest = hashlib.new(algorithm, CONTENT).hexdigest()
    download.download(server.address("whole"), home / "a", f"{algorithm}:{digest}")
    download.download(server.address("whole"), home / "b", f"{algorithm}:{digest[:8]}")
    wrong = digest[:7] + format(15 - int(digest[7], 16), "x")
    with pytest.raises(ValueError, match=rf"must be {algorithm}:{wrong}\. Received: {algorithm}:{digest[:8]}$"):
        download.download(server.address("whole"), home / "c", f"{algorithm}:{wrong}")


def test_a_file_of_unannounced_length_is_downloaded(server, home):
    assert download.fetch(entry(server.address("chunked"))).read_bytes() == CONTENT


def test_a_broken_file_in_the_cache_is_replaced(server, home):
    home.mkdir(parents=True)
    (home / "whole").write_bytes(CONTENT[:1000])
    assert download.fetch(entry(server.address("whole"))).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("kind", "error", "says"),
    [
        ("truncated", OSError, f"it ended after {len(CONTENT) - 1} of {len(CONTENT)} bytes"),
        ("broken", ValueError, "is not the published file"),
        ("nowhere", OSError, "HTTP Error 404: Not Found"),
    ],
)
def test_a_damaged_download_is_one_clear_error_and_leaves_no_file(kind, error, says, server, home):
    home.mkdir(parents=True)
    (home / kind).write_bytes(b"broken too")
    with pytest.raises(error) as raised:
        download.fetch(entry(server.address(kind)))
    assert says in str(raised.value)
    assert server.address(kind) in str(raised.value)
    assert str(home / kind) in str(raised.value)
    assert list(home.iterdir()) == []


def test_no_connection_is_one_clear_error(server, home):
    address = server.address("whole")
    server.shutdown()
    server.server_close()
    with pytest.raises(OSError, match=rf"^{re.escape(address)} cannot be downloaded to {home}/whole: .*refused"):
        download.fetch(entry(address))
    assert list(home.iterdir()) == []


def test_a_silent_server_times_out(server, home, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    with pytest.raises(OSError, match=r"/slow cannot be downloaded to .*: timed out"):
        download.fetch(entry(server.address("slow")))
    assert list(home.iterdir()) == []


CANNOT = pytest.mark.skipif(os.name == "nt", reason="Windows interrupts all programs in a console at once")


@pytest.mark.parametrize("interrupted", [False, pytest.param(True, marks=CANNOT)])
def test_a_download_that_is_killed_leaves_nothing_under_the_final_name(interrupted, server, home):
    code = (
        "import pathlib, signal, sys; from keras_inception.weights import download; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "  # which a shell's background process ignores
        "download.download(sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3])"
    )
    arguments = [sys.executable, "-c", code, server.address("slow"), str(home / "slow"), HASH]
    with subprocess.Popen(arguments, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 30
        while not any(path.stat().st_size for path in home.glob(".writing-*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        if interrupted:
            process.send_signal(signal.SIGINT)
        else:
            process.kill()
    (half,) = [*home.iterdir()] or [None]
    if interrupted:
        assert half is None
    else:
        assert half.name.startswith(".writing-")
        assert 0 < half.stat().st_size < len(CONTENT)


def test_a_file_without_a_known_hash_is_not_downloaded(server, home):
    with pytest.raises(ValueError, match=r"the hash of .*/whole is not known.*pass the path of the file as `weights`"):
        download.fetch(entry(server.address("whole"), hash=None))
    assert server.asked == []


def test_the_cache_is_keras_own_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert download.cache() == tmp_path / ".keras" / "models" / "keras_inception"
    monkeypatch.setenv("HOME", str(tmp_path / "not there"))
    assert download.cache().parts[-3:] == (".keras", "models", "keras_inception")
    assert tmp_path / "not there" not in download.cache().parents


def test_imagenet_weights_come_with_their_published_preprocessing(server, home, golden, pixels, monkeypatch):
    server.content = save(golden("tv_googlenet").tensors)
    file = entry(
        server.address("whole.pth"),
        f"sha256:{hashlib.sha256(server.content).hexdigest()[:8]}",
        network="googlenet",
        publisher="torchvision",
        preprocessing=Preprocessing.named("inception"),
    )
    monkeypatch.setattr(publishers, "PUBLISHED", (file._replace(publisher="caffe", verified=False), file))
    assert read_weights("imagenet", "googlenet").publisher == "torchvision"
    model = GoogLeNet(False, "imagenet:torchvision", input_shape=(64, 96, 3))
    assert model.preprocessing == Preprocessing.named("inception").replace(size=(64, 96))
    assert model.get_layer("pool4").pool_size == (2, 2)  # the publisher's layout
    assert server.asked == ["whole"]


@pytest.mark.parametrize(
    ("network", "weights", "says"),
    [
        ("plain34", "imagenet", "no ImageNet weights of plain34 are published. Received: weights='imagenet'"),
        ("inception_v2", "imagenet:torchvision", "no ImageNet weights of inception_v2 are published"),
        ("network_in_network", "imagenet", "must name one of imagenet:caffe"),
        (
            "googlenet",
            "imagenet:timm",
            "must be one of imagenet, imagenet:torchvision, imagenet:caffe, imagenet:tf_slim",
        ),
    ],
)
def test_weights_that_nobody_has_published_are_a_value_error(network, weights, says):
    with pytest.raises(ValueError, match=r"^`weights` must ") as raised:
        read_weights(weights, network)
    assert says in str(raised.value)


@pytest.mark.parametrize("file", PUBLISHED, ids=lambda file: f"{file.network}-{file.publisher}")
def test_every_entry_is_complete_and_found(file):
    assert file.network in NETWORKS
    assert find(f"imagenet:{file.publisher}", file.network) is file
    assert 50 < file.top1 < (file.top5 or 99) < 100
    if file.verified:
        digits = {"sha256": r"[0-9a-f]{8,64}", "md5": r"[0-9a-f]{32}"}
        algorithm, _, digest = file.hash.partition(":")
        assert re.fullmatch(digits[algorithm], digest)
        if algorithm == "sha256":  # which torch puts into the name of the file
            assert f"-{digest}.pth" in file.address


@pytest.mark.parametrize("file", PUBLISHED, ids=lambda file: f"{file.network}-{file.publisher}")
def test_the_published_preprocessing_is_that_of_the_name_map(file):
    """The published weights of torchvision's googlenet and inception_v3 use `transformed`."""
    maps = PUBLISHERS[file.network]
    name_map = maps.get(file.publisher) or maps["torchvision"]  # timm's names are torchvision's
    inputs = [name_map.preprocessing, name_map.transformed]
    if file.publisher == "torchvision" and name_map.transformed:
        inputs = [name_map.transformed]
    if file.publisher in maps:
        assert file.preprocessing in inputs
    fields = ("size", "mean", "std", "channels", "fitting", "antialias")
    wanted = [getattr(file.preprocessing, field) for field in fields]
    assert wanted in [[getattr(each, field) for field in fields] for each in inputs if each]
