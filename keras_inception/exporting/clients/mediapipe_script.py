"""Run a file in MediaPipe: python -I mediapipe_script.py JOB. The job is that of `exchange`.

This runs in the environment that has MediaPipe but not this package.
"""

import json
import sys
from pathlib import Path


def main(job: dict) -> None:
    """Do the job."""
    import mediapipe
    import numpy as np
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.ImageClassifierOptions(BaseOptions(model_asset_buffer=Path(job["model"]).read_bytes()))
    images = np.load(job["images"])
    scores = np.zeros((len(images), job["classes"]))
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for row, pixels in zip(scores, images, strict=True):
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
            for category in classifier.classify(image).classifications[0].categories:
                row[category.index] = category.score
    np.save(job["scores"], scores)


if __name__ == "__main__":
    try:
        main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
