package kerasinception

import java.nio.ByteBuffer
import java.nio.ByteOrder

/** The orientation that an image file says it has, as Pillow finds it: in its EXIF block, else in its XMP block. */
object Exif {
    private const val ORIENTATION = 0x0112
    private const val WEBP_HAS_EXIF = 0x08
    private const val WEBP_HAS_XMP = 0x04
    private val VALUE_BYTES = mapOf(
        1 to 1, 2 to 1, 3 to 2, 4 to 4, 5 to 8, 6 to 1, 7 to 1, 8 to 2, 9 to 4, 10 to 8, 11 to 4, 12 to 8, 13 to 4, 16 to 8,
    )
    private val MARKS = listOf("II*\u0000", "MM\u0000*", "II\u0000*", "MM*\u0000") // the last two are invalid, but occur
    private val IN_XMP = Regex("tiff:Orientation(?:=\"|>)([0-9])")
    private const val PREFIX = "Exif\u0000\u0000"

    /** Return the orientation of a JPEG, PNG or WebP file; upright if it says none, or is damaged. */
    fun orientation(file: ByteArray): Orientation = try {
        val blocks = when {
            file.has("\u00ff\u00d8\u00ff") -> inJpeg(file)
            file.has("\u0089PNG\r\n\u001a\n") -> inPng(file)
            file.has("RIFF") && file.has("WEBP", 8) -> inWebp(file)
            else -> Blocks()
        }
        Orientation.ofExif(blocks.exif?.let(::inExif) ?: blocks.xmp?.let(::inXmp) ?: 1)
    } catch (error: IndexOutOfBoundsException) {
        Orientation.UPRIGHT
    }

    private class Blocks(var exif: ByteArray? = null, var xmp: ByteArray? = null)

    private fun inJpeg(file: ByteArray): Blocks {
        val found = Blocks()
        var at = 2
        while (at + 4 <= file.size) {
            val marker = file.unsigned(at + 1)
            if (file.unsigned(at) != 0xff || marker == 0xff) {
                at += 1 // junk, or padding
                continue
            }
            if (marker <= 1 || marker in 0xd0..0xd9) {
                at += 2 // without a body
                continue
            }
            val end = at + 2 + file.unsigned(at + 2) * 256 + file.unsigned(at + 3)
            if (marker == 0xda || end < at + 4 || end > file.size) break // 0xda: the pixels begin
            val body = file.copyOfRange(at + 4, end)
            if (marker == 0xe1 && body.has(PREFIX)) {
                // A long block continues in the next segment.
                found.exif = found.exif?.plus(body.drop(PREFIX.length)) ?: body
            } else if (marker == 0xe1 && body.has("http://ns.adobe.com/xap/1.0/\u0000")) {
                found.xmp = body
            }
            at = end
        }
        return found
    }

    private fun ByteArray.drop(count: Int) = copyOfRange(count, size)

    private fun inPng(file: ByteArray): Blocks {
        val found = Blocks()
        chunks(file, 8, ByteOrder.BIG_ENDIAN) { name, body ->
            when {
                name == "eXIf" -> found.exif = body
                name == "iTXt" && body.has("XML:com.adobe.xmp\u0000\u0000") -> found.xmp = body
            }
        }
        return found
    }

    private fun inWebp(file: ByteArray): Blocks {
        val found = Blocks()
        val flags = if (file.has("VP8X", 12)) file.unsigned(20) else 0
        chunks(file, 12, ByteOrder.LITTLE_ENDIAN) { name, body ->
            if (name == "EXIF" && flags and WEBP_HAS_EXIF != 0) found.exif = found.exif ?: body
            if (name == "XMP " && flags and WEBP_HAS_XMP != 0) found.xmp = found.xmp ?: body
        }
        return found
    }

    /** Read the chunks of a PNG (big endian, each with a checksum) or a RIFF file (name first, of even length). */
    private fun chunks(file: ByteArray, start: Int, order: ByteOrder, read: (String, ByteArray) -> Unit) {
        val data = ByteBuffer.wrap(file).order(order)
        val little = order == ByteOrder.LITTLE_ENDIAN
        var at = start.toLong()
        while (at + 8 <= file.size) {
            val place = at.toInt()
            val length = data.getInt(if (little) place + 4 else place).toLong() and 0xffffffffL
            if (at + 8 + length > file.size) return
            val name = String(file, if (little) place else place + 4, 4, Charsets.ISO_8859_1)
            read(name, file.copyOfRange(place + 8, place + 8 + length.toInt()))
            at += 8 + length + if (little) length % 2 else 4
        }
    }

    /** Return the orientation in a TIFF directory; null if it has none, 1 if the block is no directory. */
    private fun inExif(block: ByteArray): Int? {
        var tiff = block
        repeat(2) { if (tiff.has(PREFIX)) tiff = tiff.drop(PREFIX.length) }
        if (tiff.isEmpty()) return null
        if (tiff.size < 8 || MARKS.none { tiff.has(it) }) return 1
        val order = if (tiff.has("II")) ByteOrder.LITTLE_ENDIAN else ByteOrder.BIG_ENDIAN
        return try {
            inDirectory(ByteBuffer.wrap(tiff).order(order))
        } catch (error: IndexOutOfBoundsException) {
            null
        }
    }

    private fun inDirectory(data: ByteBuffer): Int? {
        val start = data.getInt(4)
        var total = 0L
        repeat(data.getShort(start).toInt() and 0xffff) { i ->
            val entry = start + 2 + 12 * i
            val tag = data.getShort(entry).toInt() and 0xffff
            val type = data.getShort(entry + 2).toInt() and 0xffff
            val length = (data.getInt(entry + 4).toLong() and 0xffffffffL) * (VALUE_BYTES[type] ?: 0)
            var at = entry + 8
            data.getInt(at) // an incomplete entry ends the directory
            if (length > 4) {
                total += length
                if (total > data.limit()) return@repeat
                at = data.getInt(at)
                data.get(Math.toIntExact(minOf(at + length - 1, Int.MAX_VALUE.toLong()))) // so does a value beyond the end
            }
            if (tag == ORIENTATION && length > 0) return value(data, type, at)
        }
        return null
    }

    private fun value(data: ByteBuffer, type: Int, at: Int): Int = when (type) {
        3 -> data.getShort(at).toInt() and 0xffff
        4, 9, 13 -> data.getInt(at)
        6 -> data.get(at).toInt()
        8 -> data.getShort(at).toInt()
        else -> 1
    }

    private fun inXmp(block: ByteArray): Int? =
        IN_XMP.find(String(block, Charsets.ISO_8859_1))?.groupValues?.get(1)?.toInt()

    private fun ByteArray.unsigned(at: Int) = this[at].toInt() and 0xff

    private fun ByteArray.has(text: String, at: Int = 0) =
        size >= at + text.length && text.indices.all { unsigned(at + it) == text[it].code }
}
