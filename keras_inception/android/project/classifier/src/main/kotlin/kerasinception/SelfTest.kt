package kerasinception

import kotlin.math.abs

/**
 * Pictures with the answers that they had in Python, to run before an accelerator is trusted.
 *
 * @property samples the pictures
 */
class SelfTest(val samples: List<Sample>) {
    /**
     * A picture with its answers.
     *
     * @property pixels RGB of the input's size
     * @property answers the most probable classes, the most probable first
     */
    class Sample(val pixels: ByteArray, val answers: List<Answer>)

    /** How far probabilities may be from Python's. */
    enum class Tolerance(val value: Float) {
        EIGHT_BITS(1.5f / 256),
        FLOAT32(1e-4f),

        /** Of a GPU, of half precision, and of weights that are multiplied in 8 bits at run time. */
        ROUNDED(0.02f),
    }

    /** Return why a classifier cannot be trusted; null if it gives the right answers. */
    fun failure(classifier: Classifier, tolerance: Tolerance): String? {
        for ((number, sample) in samples.withIndex()) {
            val result = try {
                classifier.classifyFitted(sample.pixels)
            } catch (error: Exception) {
                return "it failed on test picture ${number + 1}: ${error.message}"
            }
            val first = result.top(1).first()
            val expected = sample.answers.first()
            val ofExpected = probability(classifier, result, expected.label)
            // Classes that tie within rounding may change places.
            if (first.label != expected.label && first.probability - (ofExpected ?: 0f) > 0f) {
                return "it says ${first.label} where ${expected.label} is right, on test picture ${number + 1}"
            }
            for (answer in sample.answers) {
                val found = probability(classifier, result, answer.label) ?: return "it has no class ${answer.label}"
                if (!(abs(found - answer.probability) <= tolerance.value)) {
                    val difference = abs(found - answer.probability)
                    return "a probability differs by $difference, more than ${tolerance.value}, on test picture ${number + 1}"
                }
            }
        }
        return null
    }

    private fun probability(classifier: Classifier, result: Result, label: String): Float? =
        classifier.file.labels.indexOf(label).takeIf { it >= 0 }?.let { result.probabilities[it] }

    companion object {
        /**
         * Read the answers of a variant from the export's `sample.json`.
         *
         * @param text content of the file
         * @param variant such as "int8"
         * @param pixels returns the pixels of a picture, by its file name
         * @throws TfliteError if it is not what `export` writes, or has no answers of this variant
         */
        fun parse(text: String, variant: String, pixels: (String) -> ByteArray): SelfTest = try {
            val pictures = (Json.parse(text) as Map<*, *>)["pictures"] as List<*>
            SelfTest(
                pictures.map { each ->
                    val picture = each as Map<*, *>
                    val answers = ((picture["top5"] as Map<*, *>)[variant] as List<*>).map { answer ->
                        val fields = answer as Map<*, *>
                        Answer(fields["label"] as String, (fields["probability"] as Double).toFloat())
                    }
                    Sample(pixels(picture["picture"] as String), answers.ifEmpty { throw TfliteError("no answers") })
                },
            )
        } catch (error: RuntimeException) {
            throw TfliteError("The test pictures of the model are unusable.", error)
        }
    }
}
