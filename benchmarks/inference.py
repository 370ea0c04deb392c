"""A .tflite file in LiteRT with its default delegate, on any processor: python inference.py FILE PICTURES OUTPUTS.

PICTURES is a .npy file of uint8 (n, height, width, 3). OUTPUTS is the .npz file to write: ``probabilities``, float
(n, classes), and of an int8 file ``logits``, int8, which its softmax is given. One thread. It needs NumPy and LiteRT
alone, so that it runs in the userland of ``aarch64.py`` too.
"""

import os
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def main(file: str, pictures: str, outputs: str) -> None:
    interpreter = Interpreter(file, num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    given, answer = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    wanted = {"probabilities": answer["index"]}
    if answer["dtype"] == np.uint8:
        (softmax,) = (node for node in interpreter._get_ops_details() if node["op_name"] == "SOFTMAX")
        wanted["logits"] = softmax["inputs"][0]
    found = {name: [] for name in wanted}
    for picture in np.load(pictures):
        x = picture if given["dtype"] == np.uint8 else (picture.astype(np.float32) - 127.5) / 127.5
        interpreter.set_tensor(given["index"], x[None])
        os.getppid()  # instructions.c counts from here
        interpreter.invoke()
        os.getppid()  # to here
        for name, tensor in wanted.items():
            found[name].append(interpreter.get_tensor(tensor)[0])
    if "logits" in found:
        scale, zero_point = answer["quantization"]
        found["probabilities"] = [scale * (row.astype(np.float32) - zero_point) for row in found["probabilities"]]
    np.savez(outputs, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
