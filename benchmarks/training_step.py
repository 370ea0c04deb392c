"""Compare a training step of GoogLeNet with torchvision's: python benchmarks/training_step.py

Both networks have batch norm and two auxiliary heads, and are trained by a fused AdamW on the same number of random
images, on all cores: ours with `model.fit`, as `keras_inception.train` compiles it. They take turns; nothing else may
run. Writes ``benchmarks/results/training_step.json`` and updates its table in the documentation.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

from circumstances import circumstances
from peers import CACHE, environment, median_ratio, race
from readme import insert, keep

from keras_inception.utils import tables

HERE = Path(__file__).parent
CASES = ((96, 32, "float32"), (96, 32, "bfloat16"), (224, 16, "float32"), (224, 16, "bfloat16"))
STEPS = 6  # per round
COLUMNS = {
    "batch": tables.Column("images"),
    "precision": tables.Column("precision"),
    "ours": tables.Column("images/s", tables.fixed(0)),
    "theirs": tables.Column("torchvision's", tables.fixed(0)),
    "ratio": tables.COLUMNS["ratio"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-env", type=Path, default=CACHE / "torch", help="created if it does not exist")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--ours", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ours:
        measure(*arguments.ours)
        return
    python = environment(arguments.torch_env)
    rows, versions = [], {}
    for size, batch, precision in CASES:
        case = [str(size), str(batch), precision, str(STEPS)]
        ours = [sys.executable, __file__, "--ours", *case]
        theirs = [python, HERE / "torchvision_step.py", *case]
        times, versions = race(ours, theirs, arguments.rounds)
        rows.append(
            {
                "size": size,
                "batch": batch,
                "precision": precision,
                "ratio": round(median_ratio(times), 3),
                "pictures_per_second": {
                    name: round(batch * STEPS / statistics.median(seconds), 1) for name, seconds in times.items()
                },
                "seconds": {name: [round(value, 3) for value in seconds] for name, seconds in times.items()},
            }
        )
    result = {
        "command": f"python benchmarks/training_step.py --rounds {arguments.rounds}",
        **circumstances(),
        "steps": STEPS,
        "versions": versions,
        "cases": rows,
    }
    keep("training_step", result)
    insert("training_step", table(result))
    print(table(result))


def table(result: dict) -> str:
    """Return the result as Markdown."""
    rows = [
        {**row, **row["pictures_per_second"], "batch": f"{row['size']} px, {row['batch']} a step"}
        for row in result["cases"]
    ]
    return tables.markdown(COLUMNS, rows)


def measure(size: str, batch: str, precision: str, steps: str) -> None:
    """Run our side: some steps for each line on standard input."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    import numpy as np
    import tensorflow as tf

    from keras_inception.training import Recipe, building
    from keras_inception.training.schedules import Plan, phases

    policy = "float32" if precision == "float32" else f"mixed_{precision}"
    recipe = building.resolved(Recipe(size=int(size), batch_size=int(batch), precision=policy, schedule="constant"))
    model = building.trainee(recipe, 1000)
    building.compile_for(model, recipe, phases(recipe)[0], Plan(recipe), steps=1000)
    chance = np.random.default_rng(0)
    x = tf.constant(chance.normal(size=(int(batch), *model.input_shape[1:])), tf.float32)
    y = tf.one_hot(chance.integers(1000, size=int(batch)), 1000)
    batches = tf.data.Dataset.from_tensors((x, {name: y for name in model.output})).repeat()
    options = tf.data.Options()
    options.autotune.enabled = False  # as in the trainer, since `fit` would wait for it at its end
    batches = batches.with_options(options)
    model.fit(batches, steps_per_epoch=2, verbose=0)
    print(json.dumps(f"tensorflow {tf.__version__}, keras {keras.__version__}"), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        model.fit(batches, steps_per_epoch=int(steps), verbose=0)
        print(json.dumps([1000 * (time.perf_counter() - began)]), flush=True)


if __name__ == "__main__":
    main()
