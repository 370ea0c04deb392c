"""Run a .tflite file in LiteRT with its default delegate, on any processor: python inference.py FILE IMAGES OUTPUTS.

IMAGES is a .npy file of uint8 (n, height, width, 3). OUTPUTS is the .npz file to write: ``probabilities``, float
(n, classes), and for an int8 file ``logits``, int8, the input of its softmax. Uses one thread. Needs only NumPy and
LiteRT, so that it also runs in the userland of ``aarch64.py``.
"""

import os
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def main(file: str, images: str, outputs: str) -> None:
    interpreter = Interpreter(file, num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    source, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    wanted = {"probabilities": result["index"]}
    if result["dtype"] == np.uint8:
        (softmax,) = (node for node in interpreter._get_ops_details() if node["op_name"] == "SOFTMAX")
        wanted["logits"] = softmax["inputs"][0]
    found = {name: [] for name in wanted}
    for image in np.load(images):
        x = image if source["dtype"] == np.uint8 else (image.astype(np.float32) - 127.5) / 127.5
        interpreter.set_tensor(source["index"], x[None])
        os.getppid()  # instructions.c counts from here
        interpreter.invoke()
        os.getppid()  # to here
        for name, tensor in wanted.items():
            found[name].append(interpreter.get_tensor(tensor)[0])
    if "logits" in found:
        scale, zero_point = result["quantization"]
        found["probabilities"] = [scale * (row.astype(np.float32) - zero_point) for row in found["probabilities"]]
    np.savez(outputs, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
