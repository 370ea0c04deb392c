package kerasinception

import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.zip.CRC32
import java.util.zip.DataFormatException
import java.util.zip.Inflater

/** The zip archive behind a model, which holds its labels and its preprocessing. */
internal class Archive(file: ByteBuffer) {
    private val data = Data(file)
    private val end = findEnd(file)

    /** Return a text file of the archive; null if there is none of this name. */
    fun text(name: String): String? = entry(name)?.let(::content)?.toString(Charsets.UTF_8)

    private class Entry(val method: Int, val crc: Long, val packed: Long, val size: Long, val header: Long)

    private fun entry(name: String): Entry? {
        if (end == null) return null
        val length = data.unsigned(end + 12)
        // Offsets count from the start of the archive or of the file.
        val start = end - length - data.unsigned(end + 16)
        var at = end - length
        repeat(data.short(end + 10)) {
            if (data.unsigned(at) != DIRECTORY) throw damaged("its list of files is not where it should be")
            val (named, extra, comment) = listOf(28, 30, 32).map { data.short(at + it) }
            if (named == name.length && data.text(at + 46, named.toLong()) == name) {
                return Entry(
                    data.short(at + 10),
                    data.unsigned(at + 16),
                    data.unsigned(at + 20),
                    data.unsigned(at + 24),
                    start + data.unsigned(at + 42),
                )
            }
            at += 46L + named + extra + comment
        }
        return null
    }

    private fun content(entry: Entry): ByteArray {
        if (entry.size > LARGEST) throw damaged("a text in it has ${entry.size} bytes, more than $LARGEST")
        if (data.unsigned(entry.header) != LOCAL) throw damaged("a file in it is not where it should be")
        val from = entry.header + 30 + data.short(entry.header + 26) + data.short(entry.header + 28)
        val packed = data.take(from, entry.packed)
        val content = when (entry.method) {
            STORED -> packed
            DEFLATED -> inflated(packed, entry.size.toInt())
            else -> throw damaged("a text in it is compressed by method ${entry.method}")
        }
        val crc = CRC32().apply { update(content) }.value
        if (content.size.toLong() != entry.size || crc != entry.crc) throw damaged("the checksum of a text is wrong")
        return content
    }

    private fun inflated(packed: ByteArray, size: Int): ByteArray {
        val inflater = Inflater(true)
        try {
            inflater.setInput(packed)
            val content = ByteArray(size)
            var done = 0
            while (done < size) {
                val more = inflater.inflate(content, done, size - done)
                if (more == 0) throw damaged("a text in it ends too early")
                done += more
            }
            return content
        } catch (error: DataFormatException) {
            throw damaged("a text in it cannot be decompressed")
        } finally {
            inflater.end()
        }
    }

    private companion object {
        const val STORED = 0
        const val DEFLATED = 8
        const val LARGEST = 1 shl 22 // bytes of a text
        const val LOCAL = 0x04034b50L
        const val DIRECTORY = 0x02014b50L
        const val END = 0x06054b50
        const val END_SIZE = 22

        /** Return the position of the archive's last record, which only a comment may follow; null without an archive. */
        fun findEnd(file: ByteBuffer): Long? {
            val bytes = file.slice().order(ByteOrder.LITTLE_ENDIAN)
            val last = bytes.limit() - END_SIZE
            for (at in last downTo maxOf(0, last - 0xffff)) {
                if (bytes.getInt(at) == END && (bytes.getShort(at + 20).toInt() and 0xffff) == last - at) return at.toLong()
            }
            return null
        }

        fun damaged(reason: String) = TfliteError("The archive behind the model is damaged: $reason.")
    }
}
