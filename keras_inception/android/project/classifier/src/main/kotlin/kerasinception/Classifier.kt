package kerasinception

/**
 * Classify pictures with a file of keras-inception, with the same answers as `keras-inception predict`.
 *
 * An instance owns its engine and its buffers: use it from one thread at a time. Only the result of a picture is
 * allocated for it.
 *
 * @property file what the model file says about itself
 */
class Classifier(val file: TfliteFile, private val engine: Engine) : AutoCloseable {
    private val fitter = Fitter(file.preprocessing)
    private val input = InputTensor(file)
    private val outputs = file.outputs.map(Values::of)

    /** Classify a picture of any size. */
    fun classify(frame: Frame): Result {
        val began = System.nanoTime()
        return run(fitter.fit(frame), began)
    }

    /**
     * Classify a picture that is fitted already.
     *
     * @param pixels RGB, height × width × 3 bytes of the input's size
     */
    fun classifyFitted(pixels: ByteArray): Result = run(pixels, System.nanoTime())

    private fun run(pixels: ByteArray, began: Long): Result {
        input.write(pixels)
        val prepared = System.nanoTime()
        engine.run(input.values, outputs)
        val done = System.nanoTime()
        val scores = real(file.scores)
        val probabilities = if (scores.size == 1 && file.labels.size == 2) floatArrayOf(1 - scores[0], scores[0]) else scores
        check(probabilities.all { it in -TOLERANCE..1 + TOLERANCE }) {
            "The model must give probabilities from 0 to 1. Received: ${probabilities.find { it !in -TOLERANCE..1 + TOLERANCE }}"
        }
        val map = outputs.indices.find { it != file.scores }?.let { ActivationMap(file.outputs[it].shape, real(it)) }
        return Result(file.labels, probabilities, map, prepared - began, done - prepared)
    }

    /** Return the real values of an output. */
    private fun real(place: Int): FloatArray {
        val tensor = file.outputs[place]
        return when (val values = outputs[place]) {
            is Values.Floats -> values.array.copyOf()
            is Values.Bytes -> FloatArray(values.array.size) { i ->
                val value = values.array[i].toInt() and (if (tensor.type == TfliteFile.Type.UINT8) 0xff else -1)
                (value.toFloat() - tensor.zeroPoint) * tensor.scale
            }
        }
    }

    override fun close() = engine.close()

    private companion object {
        const val TOLERANCE = 0.02f // a few quantization steps
    }
}

/** A class with its probability, from 0 to 1. */
data class Answer(val label: String, val probability: Float)

/** A second output: a value of each class for each place of the picture, (1, height, width, classes). */
class ActivationMap(val shape: List<Int>, val values: FloatArray)

/**
 * The outcome for a picture.
 *
 * @property probabilities of each class
 * @property preparation nanoseconds of the fitting and quantization
 * @property inference nanoseconds of the network, with reading its outputs
 */
class Result(
    private val labels: List<String>,
    val probabilities: FloatArray,
    val map: ActivationMap?,
    val preparation: Long,
    val inference: Long,
) {
    /** Return the most probable classes. Of those that tie, the first in the file comes first. */
    fun top(count: Int): List<Answer> = probabilities.indices
        .sortedWith(compareByDescending<Int> { probabilities[it] }.thenBy { it })
        .take(count)
        .map { Answer(labels[it], probabilities[it]) }
}
