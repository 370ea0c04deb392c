package kerasinception

import java.io.File
import java.util.Random
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertTrue

class ExifTest {
    private val expected = json<Map<String, Double>>("exif.json")

    @Test
    fun `orientations are those that Pillow finds`() {
        assertTrue(expected.size >= 24)
        for ((name, number) in expected) {
            val found = Exif.orientation(File(vectors, name).readBytes())
            assertEquals(Orientation.ofExif(number.toInt()), found, name)
        }
    }

    @Test
    fun `damaged files never throw`() {
        val random = Random(0)
        val files = expected.keys.map { File(vectors, it).readBytes() }
        repeat(10_000) {
            val bytes = files[random.nextInt(files.size)].copyOf()
            repeat(1 + random.nextInt(8)) { bytes[random.nextInt(minOf(bytes.size, 400))] = (random.nextInt(256)).toByte() }
            Exif.orientation(bytes.copyOf(random.nextInt(bytes.size + 1)))
        }
    }

    @Test
    fun `numbers are printed as in Python`() {
        val printed = mapOf(
            0.0 to "0.0", 1.0 to "1.0", 0.1f.toDouble() to "0.10000000149011612", 1e-5 to "1e-05", 0.00390625 to "0.00390625",
            1.5e-7f.toDouble() to "1.500000053056283e-07", 0.0001 to "0.0001", 123456.0 to "123456.0", 1e16 to "1e+16",
        )
        for ((number, text) in printed) assertEquals(text, shown(number))
    }
}
