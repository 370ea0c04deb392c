"""Run a .tflite file in LiteRT with its default delegate, on any processor: python arm64_script.py JOB.

JOB is a JSON file with ``model``, ``threads``, ``values`` (.npy file of the input's values, one item per image) and
``outputs`` (.npz file to write). It gets ``scores``, the output's values (n, classes) in the tensor's type, and of an
8-bit output ``logits``, the input of its softmax. Needs only NumPy and LiteRT, and not this package, so that it also
runs in the userland of ``arm64_userland.py``.
"""

import json
import os
import sys
from pathlib import Path


def main(job: dict) -> None:
    """Run the job."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(job["model"], num_threads=job["threads"], experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    source, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    wanted = {"scores": result["index"]}
    softmax = [node for node in interpreter._get_ops_details() if node["op_name"] == "SOFTMAX"]
    if result["dtype"] != np.float32 and softmax:
        wanted["logits"] = softmax[-1]["inputs"][0]
    found: dict[str, list] = {name: [] for name in wanted}
    for value in np.load(job["values"]):
        interpreter.set_tensor(source["index"], value[None])
        os.getppid()  # the plugin that counts instructions counts from here
        interpreter.invoke()
        os.getppid()  # to here
        for name, tensor in wanted.items():
            found[name].append(interpreter.get_tensor(tensor)[0])
    np.savez(job["outputs"], **found)


if __name__ == "__main__":
    try:
        main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
