"""Run a .tflite file in MediaPipe: python -I mediapipe_script.py JOB.

JOB is a JSON file with the job that `exchange` describes. The script runs in an environment that has MediaPipe but not
this package.
"""

import json
import sys
from pathlib import Path


def main(job: dict) -> None:
    """Run the job in MediaPipe."""
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.ImageClassifierOptions(BaseOptions(model_asset_buffer=Path(job["model"]).read_bytes()))
    with vision.ImageClassifier.create_from_options(options) as classifier:
        write_scores(classifier, lambda x: mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=x), job)


def write_scores(classifier, as_image, job: dict) -> None:
    """Classify the job's images and write their scores.

    Args:
        classifier: ImageClassifier of MediaPipe or of the Task Library, which have the same interface.
        as_image: function from RGB pixels, uint8 (height, width, 3), to the library's image.
        job: job of `exchange`.
    """
    import numpy as np

    images = np.load(job["images"])
    scores = np.zeros((len(images), job["classes"]))
    for row, pixels in zip(scores, images, strict=True):
        for category in classifier.classify(as_image(pixels)).classifications[0].categories:
            row[category.index] = category.score
    np.save(job["scores"], scores)


if __name__ == "__main__":
    try:
        main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
