"""What `mediapipe` runs in the environment that has MediaPipe, and nothing of ours: python -I mediapipe_script.py JOB.

The job: ``model`` (file), ``pictures`` (.npy file), ``classes`` (their number), ``scores`` (.npy file to write).
"""

import json
import sys
from pathlib import Path


def main(job: dict) -> None:
    import mediapipe
    import numpy as np
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.ImageClassifierOptions(BaseOptions(model_asset_buffer=Path(job["model"]).read_bytes()))
    pictures = np.load(job["pictures"])
    scores = np.zeros((len(pictures), job["classes"]))
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for row, picture in zip(scores, pictures, strict=True):
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=picture)
            for category in classifier.classify(image).classifications[0].categories:
                row[category.index] = category.score
    np.save(job["scores"], scores)


if __name__ == "__main__":
    try:
        main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
