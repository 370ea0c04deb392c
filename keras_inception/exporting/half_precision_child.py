"""Run a .tflite file in half precision, in LiteRT's CompiledModel, whose options can force it.

The job is that of `keras_inception.exporting.clients.exchange`, but its images are values of the file's input and the
scores those of its output, both of the tensor's type. This process imports only NumPy and LiteRT.
"""

from keras_inception.utils.subprocesses import answer


def main(job: dict) -> None:
    """Run the job of the child process."""
    import numpy as np

    from keras_inception.tflite.compiled import in_half_precision

    opened = in_half_precision(job["model"])
    scores = []
    for value in np.load(job["images"]):
        opened.write([value])
        scores += opened.run()
    np.save(job["scores"], np.stack(scores))


if __name__ == "__main__":
    answer(main)
