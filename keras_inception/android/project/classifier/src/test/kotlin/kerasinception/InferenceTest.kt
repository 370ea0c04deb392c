package kerasinception

import java.io.File
import java.nio.ByteBuffer
import kotlin.math.abs
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertNull
import kotlin.test.assertTrue

/** Exported files give the answers of `keras-inception predict`, from the same pixels to the last class. */
class InferenceTest {
    private val expected = json<List<Map<String, Any?>>>("answers.json")

    @Test
    fun `answers are those of Python`() {
        assertTrue(expected.size >= 8)
        for (case in expected) {
            val path = File(vectors, case.getValue("file") as String)
            val limit = case.getValue("limit") as Double
            LiteRtEngine.classifier(path).use { classifier ->
                val pictures = case.getValue("pictures") as List<*>
                for (each in pictures) {
                    @Suppress("UNCHECKED_CAST")
                    val picture = each as Map<String, Any?>
                    val result = classifier.classify(frame(picture))
                    val probabilities = (picture.getValue("probabilities") as List<*>).map { (it as Double).toFloat() }
                    val difference = probabilities.indices.maxOf { abs(probabilities[it] - result.probabilities[it]) }
                    assertTrue(difference <= limit, "$path: differs by $difference")
                    if (limit == 0.0) assertEquals(probabilities, result.probabilities.toList(), "$path")
                    assertEquals(classifier.file.labels[case.firstOf(picture)], result.top(1).first().label, "$path")
                }
            }
        }
    }

    @Test
    fun `the self-test of an export passes`() {
        for (case in expected) {
            val path = File(vectors, case.getValue("file") as String)
            val test = SelfTest.parse(File(path.parentFile, "sample.json").readText(), case.getValue("variant") as String) {
                File(path.parentFile, "$it.rgb").readBytes()
            }
            assertEquals(5, test.samples.size)
            val tolerance = SelfTest.Tolerance.valueOf(case.getValue("tolerance") as String)
            LiteRtEngine.classifier(path).use { assertNull(test.failure(it, tolerance), "$path") }
        }
    }

    private fun Map<String, Any?>.firstOf(picture: Map<String, Any?>): Int {
        val probabilities = (picture.getValue("probabilities") as List<*>).map { it as Double }
        return probabilities.indices.maxBy { probabilities[it] }
    }

    private fun frame(picture: Map<String, Any?>): Frame {
        val bytes = File(vectors, picture.getValue("rgba") as String).readBytes()
        return Frame().show(ByteBuffer.wrap(bytes), picture.int("width"), picture.int("height"))
    }
}
