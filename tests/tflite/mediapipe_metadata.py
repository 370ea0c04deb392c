"""Read the metadata of a .tflite file with MediaPipe's generated code: python -I mediapipe_metadata.py JOB.

The script runs in the environment that has MediaPipe. Its job has ``model`` (file) and ``found`` (JSON file to write).
"""

import json
import sys
from pathlib import Path

from mediapipe.tasks.metadata import metadata_schema_py_generated as schema
from mediapipe.tasks.metadata import schema_py_generated as model_schema


def plain(value):
    """Return the objects of generated code as values that JSON can hold, without missing fields."""
    if isinstance(value, bytes):
        return value.decode()
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, list):
        return [plain(each) for each in value]
    if hasattr(value, "__dict__"):
        return {name: plain(each) for name, each in vars(value).items() if each is not None}
    return value


def main(job: dict) -> None:
    model = model_schema.Model.GetRootAsModel(Path(job["model"]).read_bytes(), 0)
    entries = [model.Metadata(index) for index in range(model.MetadataLength())]
    (buffer,) = [entry.Buffer() for entry in entries if entry.Name() == b"TFLITE_METADATA"]
    content = model.Buffers(buffer).DataAsNumpy().tobytes()
    assert schema.ModelMetadata.ModelMetadataBufferHasIdentifier(content, 0)
    metadata = schema.ModelMetadataT.InitFromObj(schema.ModelMetadata.GetRootAsModelMetadata(content, 0))
    Path(job["found"]).write_text(json.dumps(plain(metadata)), encoding="utf-8")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
