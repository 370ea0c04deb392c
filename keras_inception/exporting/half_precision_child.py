"""Run a .tflite file in half precision, in LiteRT's CompiledModel, whose options can force it.

The job is that of `keras_inception.exporting.clients.exchange`, but its images are values of the file's input and the
scores those of its output, both of the tensor's type. This process imports only NumPy and LiteRT.
"""

from keras_inception.utils.subprocesses import answer

FORCE_FP16 = 4  # XNNPACK's flag


def main(job: dict) -> None:
    """Run the job of the child process."""
    import numpy as np
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.options import CpuOptions, HardwareAccelerator, Options

    options = Options(HardwareAccelerator.CPU, CpuOptions(xnnpack_flags=FORCE_FP16))
    values = np.load(job["images"])
    model = CompiledModel.from_file(job["model"], options=options)
    ((key, signature),) = model.get_signature_list().items()
    (tensor,) = (model.get_output_tensor_details(key)[name] for name in signature["outputs"])
    scores = np.empty((len(values), int(np.prod(tensor["shape"]))), tensor["dtype"])
    given, taken = model.create_input_buffers(0), model.create_output_buffers(0)
    for row, value in zip(scores, values, strict=True):
        given[0].write(np.ascontiguousarray(value).reshape(-1))
        model.run_by_index(0, given, taken)
        row[:] = taken[0].read(len(row), scores.dtype)
    np.save(job["scores"], scores)


if __name__ == "__main__":
    answer(main)
