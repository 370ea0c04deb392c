package kerasinception

import kerasinception.SelfTest.Tolerance
import kerasinception.TfliteFile.Tensor
import kerasinception.TfliteFile.Type
import java.nio.ByteBuffer
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNotNull
import kotlin.test.assertNull
import kotlin.test.assertTrue

/** An engine that gives the same outputs for every picture. */
private class Fixed(vararg val given: Values) : Engine {
    var closed = false

    override fun run(input: Values, outputs: List<Values>) = outputs.forEachIndexed { place, into ->
        when (into) {
            is Values.Bytes -> (given[place] as Values.Bytes).array.copyInto(into.array)
            is Values.Floats -> (given[place] as Values.Floats).array.copyInto(into.array)
        }
        Unit
    }

    override fun close() {
        closed = true
    }
}

class ClassifierTest {
    private val preprocessing = Preprocessing.parse("""{"size": [2, 2]}""")
    private val pixels = ByteArray(12)

    private fun file(labels: List<String>, vararg outputs: Tensor, scores: Int = 0) = TfliteFile(
        Tensor(Type.UINT8, listOf(1, 2, 2, 3), 1f, 0), outputs.toList(), scores, labels, preprocessing, false,
    )

    private fun floats(vararg values: Float) = Values.Floats(values)

    @Test
    fun `scores of 8 bits are made real`() {
        val unsigned = Tensor(Type.UINT8, listOf(1, 3), 1f / 256, 0)
        val signed = Tensor(Type.INT8, listOf(1, 3), 1f / 256, -128)
        val labels = listOf("a", "b", "c")
        for ((tensor, bytes) in mapOf(unsigned to byteArrayOf(0, 64, -64), signed to byteArrayOf(-128, -64, 64))) {
            val result = Classifier(file(labels, tensor), Fixed(Values.Bytes(bytes))).classifyFitted(pixels)
            assertContentEquals(floatArrayOf(0f, 0.25f, 0.75f), result.probabilities)
            assertEquals(listOf(Answer("c", 0.75f), Answer("b", 0.25f)), result.top(2))
        }
    }

    @Test
    fun `of classes that tie, the first comes first`() {
        val tensor = Tensor(Type.FLOAT32, listOf(1, 4), 0f, 0)
        val classifier = Classifier(file(listOf("a", "b", "c", "d"), tensor), Fixed(floats(0.2f, 0.3f, 0.2f, 0.3f)))
        assertEquals(listOf("b", "d", "a", "c"), classifier.classifyFitted(pixels).top(9).map { it.label })
    }

    @Test
    fun `one score is that of the second of two labels`() {
        val tensor = Tensor(Type.FLOAT32, listOf(1, 1), 0f, 0)
        val result = Classifier(file(listOf("no", "yes"), tensor), Fixed(floats(0.75f))).classifyFitted(pixels)
        assertContentEquals(floatArrayOf(0.25f, 0.75f), result.probabilities)
    }

    @Test
    fun `a second output is a map`() {
        val map = Tensor(Type.FLOAT32, listOf(1, 1, 2, 2), 0f, 0)
        val scores = Tensor(Type.FLOAT32, listOf(1, 2), 0f, 0)
        val engine = Fixed(floats(1f, 2f, 3f, 4f), floats(0.5f, 0.5f))
        val result = Classifier(file(listOf("a", "b"), map, scores, scores = 1), engine).classifyFitted(pixels)
        assertContentEquals(floatArrayOf(0.5f, 0.5f), result.probabilities)
        assertContentEquals(floatArrayOf(1f, 2f, 3f, 4f), assertNotNull(result.map).values)
    }

    @Test
    fun `logits and NaN are refused`() {
        val tensor = Tensor(Type.FLOAT32, listOf(1, 2), 0f, 0)
        for (wrong in listOf(floats(-3f, 4f), floats(Float.NaN, 0f), floats(Float.POSITIVE_INFINITY, 0f))) {
            val classifier = Classifier(file(listOf("a", "b"), tensor), Fixed(wrong))
            val error = assertFailsWith<IllegalStateException> { classifier.classifyFitted(pixels) }
            assertTrue("probabilities" in error.message!!)
        }
    }

    @Test
    fun `pixels of another size are refused`() {
        val tensor = Tensor(Type.FLOAT32, listOf(1, 2), 0f, 0)
        val classifier = Classifier(file(listOf("a", "b"), tensor), Fixed(floats(0f, 1f)))
        assertFailsWith<IllegalArgumentException> { classifier.classifyFitted(ByteArray(11)) }
        classifier.classify(Frame().show(ByteBuffer.allocate(4 * 5 * 7), 5, 7))
    }

    @Test
    fun `the engine is closed with the classifier`() {
        val engine = Fixed(floats(0f, 1f))
        Classifier(file(listOf("a", "b"), Tensor(Type.FLOAT32, listOf(1, 2), 0f, 0)), engine).use {}
        assertTrue(engine.closed)
    }

    @Test
    fun `a self-test tells what is wrong`() {
        val file = file(listOf("a", "b"), Tensor(Type.FLOAT32, listOf(1, 2), 0f, 0))
        val text = """{"pictures": [{"picture": "p.png", "top5": {"float32": [
            {"label": "b", "probability": 0.9}, {"label": "a", "probability": 0.1}]}}]}"""
        val test = SelfTest.parse(text, "float32") { pixels }
        fun failure(vararg scores: Float, tolerance: Tolerance = Tolerance.FLOAT32) =
            test.failure(Classifier(file, Fixed(Values.Floats(scores))), tolerance)
        assertNull(failure(0.1f, 0.9f))
        assertNull(failure(0.11f, 0.89f, tolerance = Tolerance.ROUNDED))
        assertTrue("differs" in failure(0.11f, 0.89f)!!)
        assertTrue("a where b is right" in failure(0.9f, 0.1f)!!)
        assertTrue("failed" in failure(Float.NaN, 0.9f)!!)
        val other = file(listOf("x", "y"), Tensor(Type.FLOAT32, listOf(1, 2), 0f, 0))
        assertNotNull(test.failure(Classifier(other, Fixed(floats(0.1f, 0.9f))), Tolerance.FLOAT32))
    }

    @Test
    fun `test pictures of another export are refused`() {
        for (text in listOf("", "{}", """{"pictures": [{"picture": "p.png", "top5": {"int8": []}}]}""")) {
            assertFailsWith<TfliteError>(text) { SelfTest.parse(text, "float32") { pixels } }
        }
    }
}
