package kerasinception

import kerasinception.TfliteFile.Tensor
import kerasinception.TfliteFile.Type
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

/** Pictures become the bytes and floats that Python makes of them. */
class PreprocessingTest {
    @Test
    fun `pictures are fitted and normalized to the byte`() {
        val cases = json<List<Map<String, Any?>>>("preprocessing.json")
        assertTrue(cases.size >= 100)
        val pictures = ByteBuffer.wrap(File(vectors, "pictures").readBytes())
        val expected = ByteBuffer.wrap(File(vectors, "expected").readBytes()).order(ByteOrder.LITTLE_ENDIAN)
        for (case in cases) {
            val preprocessing = Preprocessing.parse(case.getValue("preprocessing") as String)
            val stride = case.int("stride")
            val rows = ByteBuffer.allocateDirect(stride * case.int("rows"))
            rows.put(ByteArray(rows.capacity()).also { pictures.get(it) })
            val frame = Frame().show(
                rows, case.int("width"), case.int("height"), stride, case.int("left"), case.int("top"),
                Orientation.ofExif(case.int("orientation")),
            )
            val fitter = Fitter(preprocessing)
            val size = preprocessing.height * preprocessing.width
            val fitted = ByteArray(3 * size).also { expected.get(it) }
            repeat(2) { assertContentEquals(fitted, fitter.fit(frame), "$case") } // the second keeps what the first made
            val channels = if (preprocessing.channels == Preprocessing.Channels.GRAY) 1 else 3
            val input = InputTensor(file(preprocessing, Type.FLOAT32, channels)).apply { write(fitted) }
            val values = (input.values as Values.Floats).array
            assertContentEquals(FloatArray(channels * size) { expected.getFloat() }, values, "$case")
        }
        assertEquals(0, pictures.remaining() + expected.remaining())
    }

    @Test
    fun `a fitter takes pictures of changing sizes`() {
        val fitter = Fitter(Preprocessing.parse("""{"size": [8, 8], "fitting": "pad"}"""))
        val wide = Frame().show(ByteBuffer.allocate(400).apply { repeat(100) { putInt(0x000000ff) } }, 20, 5)
        val first = fitter.fit(wide).copyOf()
        fitter.fit(Frame().show(wide(), 5, 20))
        assertContentEquals(first, fitter.fit(wide))
    }

    private fun wide() = ByteBuffer.allocate(400).apply { repeat(100) { putInt(0x000000ff) } }

    @Test
    fun `pixels are quantized by the scale of the input`() {
        val preprocessing = Preprocessing.parse("""{"size": [1, 2], "mean": [127.5], "std": [127.5]}""")
        val pixels = byteArrayOf(0, 127, -1, -128, 1, -2)
        val input = InputTensor(file(preprocessing, Type.INT8, 3, scale = 1f / 128, zeroPoint = -1)).apply { write(pixels) }
        assertContentEquals(byteArrayOf(-128, -2, 127, 0, -128, 126), (input.values as Values.Bytes).array)
    }

    @Test
    fun `raw pixels are shifted for a signed input`() {
        val preprocessing = Preprocessing.parse("""{"size": [1, 1], "mean": [0], "std": [1]}""")
        for ((type, expected) in mapOf(Type.UINT8 to byteArrayOf(0, 127, -1), Type.INT8 to byteArrayOf(-128, -1, 127))) {
            val input = InputTensor(file(preprocessing, type, 3)).apply { write(byteArrayOf(0, 127, -1)) }
            assertContentEquals(expected, (input.values as Values.Bytes).array)
        }
    }

    @Test
    fun `a rectangle outside of the buffer is refused`() {
        val rows = ByteBuffer.allocate(4 * 10 * 10)
        assertFailsWith<IllegalArgumentException> { Frame().show(rows, 10, 11) }
        assertFailsWith<IllegalArgumentException> { Frame().show(rows, 10, 10, left = 1) }
        assertFailsWith<IllegalArgumentException> { Frame().show(rows, 10, 10, top = 1) }
        assertFailsWith<IllegalArgumentException> { Frame().show(rows, 0, 10) }
        assertFailsWith<IllegalArgumentException> { Orientation.ofRotation(45) }
        Frame().show(rows, 9, 10, rowStride = 40, left = 1)
    }

    @Test
    fun `unusable descriptions are refused with a reason`() {
        val wrong = mapOf(
            "" to "not JSON",
            "[]" to "not an object",
            """{"size": [0, 8]}""" to "`size`",
            """{"size": [8.5, 8]}""" to "`size`",
            """{"mean": [1, 2]}""" to "`mean`",
            """{"std": [0]}""" to "`std`",
            """{"crop": 0}""" to "`crop`",
            """{"fitting": "fill"}""" to "`fitting`",
            """{"fitting": "central_crop"}""" to "central_crop",
            """{"antialias": 1}""" to "`antialias`",
            """{"colour": "RGB"}""" to "unknown fields",
            "[".repeat(1000) to "too many levels",
        )
        for ((text, reason) in wrong) {
            val error = assertFailsWith<TfliteError>(text) { Preprocessing.parse(text) }
            assertTrue(reason in error.message!!, "${error.message}")
        }
    }
}

/** Return a description of a classifier of two classes with this input. */
fun file(preprocessing: Preprocessing, type: Type, channels: Int, scale: Float = 1f, zeroPoint: Int = 0) = TfliteFile(
    Tensor(type, listOf(1, preprocessing.height, preprocessing.width, channels), scale, zeroPoint),
    listOf(Tensor(Type.FLOAT32, listOf(1, 2), 0f, 0)),
    0,
    listOf("cat", "dog"),
    preprocessing,
    false,
)
