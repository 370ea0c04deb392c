"""Quantize a finished float32 .tflite file with litert-quantizer: python quantizer.py JOB.json.

Runs in an environment of its own, with quantizer-requirements.txt. The job has ``model``, ``recipe`` (a name of
`RECIPES`), ``calibration`` (.npy file of inputs, or null), ``keep_float`` (regular expressions of operations' outputs)
and ``output``. Prints the seconds that it took.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from litert_quantizer import quantizer, recipe
from litert_quantizer.algorithm_manager import AlgorithmName
from litert_quantizer.qtyping import TFLOperationName


def float16() -> list:
    """Return a recipe that casts weights to float16."""
    made = recipe.recipe_manager.RecipeManager()
    made.add_weight_only_config(
        ".*", TFLOperationName.ALL_SUPPORTED, num_bits=16, algorithm_key=AlgorithmName.FLOAT_CASTING
    )
    return made.get_quantization_recipe()


RECIPES = {
    "min_max": recipe.static_wi8_ai8,
    "mse": lambda: recipe.static_wi8_ai8(algorithm_key=AlgorithmName.MSE),
    "octav": lambda: recipe.static_wi8_ai8(algorithm_key=AlgorithmName.OCTAV),
    "dynamic": recipe.dynamic_wi8_afp32,
    "weights": recipe.weight_only_wi8_afp32,
    "float16": float16,
}


def main(job: dict) -> None:
    began = time.perf_counter()
    made = quantizer.Quantizer(job["model"], RECIPES[job["recipe"]]())
    for pattern in job["keep_float"]:
        made.update_quantization_recipe(
            pattern, TFLOperationName.ALL_SUPPORTED, algorithm_key=AlgorithmName.NO_QUANTIZE
        )
    found = None
    if made.need_calibration:
        images = np.load(job["calibration"])
        found = made.calibrate({"serving_default": [{"image": image[None]} for image in images]}, num_threads=2)
    result = made.quantize(found, enable_progress_bar=False, enable_progress_report=False)
    Path(job["output"]).write_bytes(result.quantized_model)
    print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
