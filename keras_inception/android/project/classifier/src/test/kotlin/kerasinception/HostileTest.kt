package kerasinception

import java.io.File
import java.nio.ByteBuffer
import java.util.Random
import kotlin.test.Test
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

/** Damaged files and frames give one exception with a reason, or are read. Nothing else happens. */
class HostileTest {
    private val models = json<List<Map<String, Any?>>>("answers.json").map { File(vectors, it.getValue("file") as String) }

    @Test
    fun `mutated models are refused or read`() {
        val random = Random(0)
        val files = models.map { it.readBytes() }
        var refused = 0
        repeat(10_000) {
            val bytes = files[random.nextInt(files.size)]
            val places = List(1 + random.nextInt(8)) { place(bytes.size, random) }
            val before = places.map { bytes[it] }
            places.forEach { bytes[it] = INTERESTING[random.nextInt(INTERESTING.size)] }
            try {
                TfliteFile.read(ByteBuffer.wrap(bytes))
            } catch (error: TfliteError) {
                assertTrue(error.message!!.endsWith("."))
                refused++
            }
            places.indices.reversed().forEach { bytes[places[it]] = before[it] }
        }
        assertTrue(refused in 1000..9999, "$refused")
    }

    /** Return a place in a file: most are at its ends, where its description is and its archive. */
    private fun place(size: Int, random: Random) = when (random.nextInt(3)) {
        0 -> random.nextInt(minOf(size, 4096))
        1 -> size - 1 - random.nextInt(minOf(size, 4096))
        else -> random.nextInt(size)
    }

    @Test
    fun `cut models are refused`() {
        val bytes = models.minBy { it.length() }.readBytes()
        for (length in (0 until 64) + (64 until bytes.size step bytes.size / 97)) {
            assertFailsWith<TfliteError>("$length") { TfliteFile.read(ByteBuffer.wrap(bytes, 0, length).slice()) }
        }
    }

    @Test
    fun `other files are refused with a reason`() {
        for (bytes in listOf(ByteArray(0), ByteArray(100), "not a model".toByteArray())) {
            val error = assertFailsWith<TfliteError> { TfliteFile.read(ByteBuffer.wrap(bytes)) }
            assertTrue("not a TFLite model" in error.message!!)
        }
    }

    @Test
    fun `frames of any geometry are refused or fitted`() {
        val random = Random(0)
        val fitter = Fitter(Preprocessing.parse("""{"size": [16, 24], "crop": 0.875, "fitting": "shorter"}"""))
        var fitted = 0
        repeat(10_000) {
            val buffer = ByteBuffer.allocate(random.nextInt(20_000))
            val (width, height) = List(2) { random.nextInt(60) - 5 }
            val (left, top) = List(2) { random.nextInt(10) - 3 }
            try {
                val stride = if (random.nextInt(4) == 0) random.nextInt() else width * 4 + random.nextInt(64)
                val orientation = Orientation.values()[random.nextInt(8)]
                fitter.fit(Frame().show(buffer, width, height, stride, left, top, orientation))
                fitted++
            } catch (error: IllegalArgumentException) {
                assertTrue(error.message!!.isNotEmpty())
            }
        }
        assertTrue(fitted in 500..9000, "$fitted")
    }

    private companion object {
        val INTERESTING = byteArrayOf(0, 1, 4, 127, -128, -1)
    }
}
