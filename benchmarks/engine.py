"""Time a network in another engine, for latency.py: python engine.py ENGINE NETWORK PRECISION THREADS.

Runs in an environment of its own, with engine-requirements.txt. The networks are torchvision's, which have the same
layers as ours. Speaks the protocol of `keras_inception.tflite.stopwatch`.
"""

import contextlib
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torchvision

SIZES = {"googlenet": 224, "inception_v3": 299}
CALIBRATION = 16  # images of noise, since only the speed matters


def main(engine: str, network: str, precision: str, threads: str) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(int(threads))
    made = getattr(torchvision.models, network)(
        weights=None, aux_logits=True, init_weights=False, transform_input=False
    )
    made.aux1 = made.aux2 = made.AuxLogits = None
    made.aux_logits = False
    shape = (1, 3, SIZES[network], SIZES[network])
    noise = [np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32) for seed in range(CALIBRATION)]
    with contextlib.redirect_stdout(sys.stderr):  # standard output is for our protocol alone
        version, run = ENGINES[engine](made.eval(), noise, precision, int(threads))
        run()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(json.dumps({"version": version, "memory_mb": memory}), flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            run()
            times.append(1000 * (time.perf_counter() - start))
        print(json.dumps(times), flush=True)


def onnx_runtime(model: torch.nn.Module, noise: list[np.ndarray], precision: str, threads: int) -> tuple[str, Callable]:
    import onnxruntime as ort
    from onnxruntime import quantization

    class Noise(quantization.CalibrationDataReader):
        def __init__(self):
            self.batches = iter(noise)

        def get_next(self):
            batch = next(self.batches, None)
            return None if batch is None else {"image": batch}

    with tempfile.TemporaryDirectory() as folder:
        path = plain = Path(folder) / "model.onnx"
        torch.onnx.export(model, (torch.from_numpy(noise[0]),), plain, input_names=["image"], dynamo=False)
        if precision == "int8":
            prepared, path = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
            quantization.shape_inference.quant_pre_process(plain, prepared)
            quantization.quantize_static(
                prepared,
                path,
                Noise(),
                quant_format=quantization.QuantFormat.QDQ,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                per_channel=True,
            )
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return f"onnxruntime {ort.__version__}", lambda: session.run(None, {"image": noise[0]})


def openvino(model: torch.nn.Module, noise: list[np.ndarray], precision: str, threads: int) -> tuple[str, Callable]:
    import openvino

    graph = openvino.convert_model(model, example_input=torch.from_numpy(noise[0]), input=[noise[0].shape])
    if precision == "int8":
        import nncf

        graph = nncf.quantize(graph, nncf.Dataset(noise))
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    if precision == "float32":
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    request = openvino.compile_model(graph, "CPU", settings).create_infer_request()
    return f"openvino {openvino.__version__.split('-')[0]}", lambda: request.infer([noise[0]])


def pytorch(model: torch.nn.Module, noise: list[np.ndarray], precision: str, threads: int) -> tuple[str, Callable]:
    if precision != "float32":
        raise SystemExit("PyTorch is measured in float32 only")
    model = model.to(memory_format=torch.channels_last)
    x = torch.from_numpy(noise[0]).to(memory_format=torch.channels_last)

    def run() -> None:
        with torch.inference_mode():
            model(x)

    return f"torch {torch.__version__}", run


ENGINES = {"onnx_runtime": onnx_runtime, "openvino": openvino, "pytorch": pytorch}

if __name__ == "__main__":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    main(*sys.argv[1:])
