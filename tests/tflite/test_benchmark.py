"""Files are timed on every accelerator that can run them; the others say why they cannot."""

import json
import os
import re
import sys
from pathlib import Path

import ai_edge_litert
import pytest
from children import ends

from keras_inception.cli import main
from keras_inception.tflite import benchmark as benchmarks
from keras_inception.tflite import compiled
from keras_inception.tflite.benchmark import Stopwatch, benchmark, take_turns
from keras_inception.tflite.operations import arithmetic
from keras_inception.utils.subprocesses import ChildError

WRITTEN = Path(__file__).parents[1] / "version_0_1" / "exported"
FLOAT32, INT8 = WRITTEN / "googlenet_float32.tflite", WRITTEN / "googlenet_int8.tflite"
LIBRARY = Path(ai_edge_litert.__path__[0]) / "libLiteRt.so"
SAID = """\
INFO: [delegate_webgpu.cc:342] Create WebGPU environment (use_low_power=0, enable_host_mapped_pointer=1)
I0000 00:00:1796083740.907086   24855 environment.cc:532] Selected adapter: {}, arch=a, vendor=b, {}
INFO: [delegate_webgpu.cc:363] Created a WebGPU environment.
"""
SOFTWARE = SAID.format("SwiftShader Device (Subzero)", "backend=Vulkan, adapterType=CPU / Software")
REFUSING = """\
ERROR: Following operations are not supported by GPU delegate:
LOCAL_RESPONSE_NORMALIZATION: Operation is not supported.
TOPK_V2: Only 1D.
2 operations will run on the GPU, and the remaining 2 operations will run on the CPU.
"""
NO_ADAPTER = "ERROR: [delegate_webgpu.cc:359] Failed to initialize WebGPU environment: INTERNAL: No adapters found\n"
linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, drivers are found in other ways")


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return benchmark([FLOAT32, INT8], accelerators=["cpu", "fp16"], runs=3)


def test_files_are_timed_on_each_accelerator_in_turn(rows):
    assert [(row["path"], row["accelerator"]) for row in rows] == [
        (str(path), accelerator) for path in (FLOAT32, INT8) for accelerator in ("cpu", "fp16")
    ]
    plain, half, small, _ = rows
    assert plain["ratio"] == 1
    for row in (plain, half, small):
        assert row["ratio"] == pytest.approx(row["median_ms"] / plain["median_ms"])
        assert row["load_ms"] > 0
        assert row["error"] is None
    assert plain["device"] == small["device"] == "XNNPACK"
    assert half["device"].startswith("XNNPACK in half precision")


def test_half_precision_says_that_x86_adds_in_float32(monkeypatch):
    monkeypatch.setattr(compiled, "Compiled", lambda path, options: StandIn(""))
    for machine, sums in {"x86_64": ", sums in float32", "AMD64": ", sums in float32", "aarch64": ""}.items():
        monkeypatch.setattr("platform.machine", lambda machine=machine: machine)
        assert compiled.in_half_precision(FLOAT32).device == f"XNNPACK in half precision{sums}"


def test_eight_bits_have_no_half_precision(rows):
    (row,) = [row for row in rows if row["error"]]
    assert (row["path"], row["accelerator"]) == (str(INT8), "fp16")
    assert row["error"] == "half precision is for floats, and its weights are int8"
    assert row["macs"] == 419_904
    assert {row[key] for key in benchmarks.MEASURED} == {None}


def test_the_weights_of_a_file_have_a_type(exported):
    folder, _ = exported
    stored = {"float32": "float32", "float16": "float16", "dynamic": "int8", "int8": "int8"}
    found = {name: arithmetic(next(folder.glob(f"*_{name}.tflite"))) for name in stored}
    assert {name: each.weights for name, each in found.items()} == stored
    assert [each.kind for each in found.values()] == ["float32"] * 3 + ["int8"]


def test_a_command_prints_the_rows_and_says_what_was_not_run(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stop:
        main(["benchmark", str(FLOAT32), str(INT8), "--accelerator", "cpu,fp16", "--runs", "1", "--no-peak"])
    output, errors = capsys.readouterr()
    assert stop.value.code == 1
    assert output.count("not run") == 1
    assert re.search(r"on +MB +load, ms +median, ms +p10 +p90 +ratio", output)  # nothing is cut
    assert "\ncpu: XNNPACK\nfp16: XNNPACK in half precision" in output
    assert errors == f"error: {INT8} on fp16: half precision is for floats, and its weights are int8\n"


def test_an_unknown_accelerator_is_refused_before_anything_is_run(capsys):
    with pytest.raises(SystemExit):
        main(["benchmark", "nowhere.tflite", "--accelerator", "cpu,gpus"])
    expected = r"error: `accelerators` must be a list of some of cpu, fp16, gpu\. Did you mean '?gpu'?\?.*\n"
    assert re.fullmatch(expected, capsys.readouterr().err)


def timed(capsys, *options: str) -> tuple[list[dict], str]:
    with pytest.raises(SystemExit) as stop:
        main(["benchmark", str(FLOAT32), "--runs", "1", "--no-peak", "--json", *options])
    assert stop.value.code == 1
    output, errors = capsys.readouterr()
    return json.loads(output or "[]"), errors


@linux
@pytest.mark.parametrize("broken", ["crashes", "hangs"])
def test_a_driver_that_is_broken_is_one_line_and_the_others_are_timed(tmp_path, monkeypatch, capsys, broken):
    loader = tmp_path / compiled.LOADER
    if broken == "crashes":
        loader.write_bytes(LIBRARY.read_bytes()[:100_000])  # what is mapped beyond its end is SIGBUS
    else:
        os.mkfifo(loader)  # nobody writes to it
        monkeypatch.setattr(benchmarks, "SECONDS_TO_LOAD", 3)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    (gpu, cpu), errors = timed(capsys, "--accelerator", "gpu,cpu")
    assert gpu["error"] == {"crashes": "its process ended with SIGBUS", "hangs": "it took longer than 3 s"}[broken]
    assert errors == f"error: {FLOAT32} on gpu: {gpu['error']}\n"
    assert cpu["ratio"] == 1


@linux
def test_no_driver_at_all_is_one_line_that_says_what_is_needed(monkeypatch, capsys):
    for name in compiled.DRIVERS:
        monkeypatch.setenv(name, "/nowhere.json")
    rows, errors = timed(capsys, "--accelerator", "gpu")
    assert not rows
    assert errors == f"error: {FLOAT32} cannot be timed on gpu: {compiled.MISSING}\n"


class StandIn:
    """A file that LiteRT opens, or does not open, and what it prints."""

    def __init__(self, said: str, error: str = ""):
        os.write(2, said.encode())
        if error:
            raise RuntimeError(error)


@pytest.mark.parametrize(
    ("said", "device", "outside"),
    [
        (SOFTWARE, "software Vulkan", []),
        (SAID.format("NVIDIA RTX", "backend=Vulkan, adapterType=Discrete GPU"), "NVIDIA RTX", []),
        (
            SOFTWARE + REFUSING,
            "software Vulkan",
            ["LOCAL_RESPONSE_NORMALIZATION: Operation is not supported.", "TOPK_V2: Only 1D."],
        ),
    ],
)
def test_the_gpu_and_what_it_refuses_are_named_as_litert_prints_them(monkeypatch, capfd, said, device, outside):
    monkeypatch.setattr(compiled, "_find_driver", lambda: None)
    monkeypatch.setattr(compiled, "Compiled", lambda path, options: StandIn(said))
    opened = compiled.on_gpu(FLOAT32)
    assert opened.device == f"LiteRT's WebGPU accelerator, {device}"
    assert opened.outside == outside
    assert not capfd.readouterr().err


@pytest.mark.parametrize(
    ("said", "error", "reason"),
    [
        (NO_ADAPTER, "ERROR: [a.h:1]\n└ ERROR: [b.cc:2]", compiled.MISSING),
        (NO_ADAPTER, "", compiled.MISSING),  # the CPU would run the file
        ("", "", compiled.MISSING),  # there is no such accelerator
        (SOFTWARE + "E0000 x.cc:1] INTERNAL: Out of memory\n", "ERROR: [a.h:1]", "Out of memory"),
        (SOFTWARE, "first\n second", "first second"),
    ],
)
def test_the_reason_of_a_gpu_that_does_not_run_is_one_line(monkeypatch, said, error, reason):
    monkeypatch.setattr(compiled, "_find_driver", lambda: None)
    monkeypatch.setattr(compiled, "Compiled", lambda path, options: StandIn(said, error))
    with pytest.raises(RuntimeError, match=f"^{re.escape(reason)}$"):
        compiled.on_gpu(FLOAT32)


@linux
def test_vulkan_runs_in_software_only_if_there_is_nothing_else(monkeypatch, tmp_path):
    (tmp_path / compiled.DRIVER).touch()
    monkeypatch.setattr(compiled, "CHROMIUM", tmp_path)
    monkeypatch.setattr(compiled, "GPUS", ())
    for name in compiled.DRIVERS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VK_DRIVER_FILES", "chosen.json")
    compiled._find_driver()
    assert "VK_ICD_FILENAMES" not in os.environ
    monkeypatch.delenv("VK_DRIVER_FILES")
    monkeypatch.setattr(compiled, "GPUS", ("null",))
    compiled._find_driver()
    assert "VK_ICD_FILENAMES" not in os.environ
    monkeypatch.setattr(compiled, "GPUS", ())
    compiled._find_driver()
    assert os.environ.pop("VK_ICD_FILENAMES") == str(tmp_path / compiled.DRIVER)


def watch(code: str) -> Stopwatch:
    return Stopwatch([sys.executable, "-c", f"import json, sys\n{code}"])


GOOD = "print('{}', flush=True)\nfor line in sys.stdin: print([1] * int(line), flush=True)"
DYING = "print('{}', flush=True)\ninput()\nsys.exit(3)"


def test_a_file_that_fails_only_when_it_is_timed_does_not_stop_the_others():
    with watch(GOOD) as good, watch(DYING) as dying:
        take_turns([dying, good], 7, keep_going=True)
        assert good.times == [1] * 10
        assert dying.failure == "its process ended with exit code 3"
        with pytest.raises(ChildError, match="its process ended with exit code 3"):
            take_turns([good, watch(DYING)], 7)


def test_a_process_that_does_not_end_is_ended(monkeypatch):
    monkeypatch.setattr(benchmarks, "SECONDS_TO_END", 0.1)
    with watch(f"{GOOD}\nimport time\ntime.sleep(600)") as endless:
        assert endless.run(1) == [1]
    assert ends(endless._process.pid)


def test_a_file_that_no_accelerator_runs_is_named(monkeypatch):
    monkeypatch.setattr(benchmarks, "of_file", lambda *_: [sys.executable, "-c", "1/0"])
    with pytest.raises(ValueError, match=r"float32\.tflite cannot be timed on cpu: its process ended with exit code 1"):
        benchmark([FLOAT32], runs=1)
