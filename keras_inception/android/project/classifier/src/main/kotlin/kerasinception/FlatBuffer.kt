package kerasinception

import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * The bytes of a file, little endian, with checked and limited reads.
 *
 * Files may come from strangers, so that every offset is checked before it is followed. Tables may share what they refer
 * to, so that a small file could expand to any size: the bytes that are read in all are limited too.
 */
internal class Data(buffer: ByteBuffer) {
    val size: Int = buffer.remaining()
    private val bytes: ByteBuffer = buffer.slice().order(ByteOrder.LITTLE_ENDIAN)
    private var left = LIMIT

    fun byte(at: Long): Int = bytes.get(checked(at, 1)).toInt()

    fun short(at: Long): Int = bytes.getShort(checked(at, 2)).toInt() and 0xffff

    fun int(at: Long): Int = bytes.getInt(checked(at, 4))

    fun long(at: Long): Long = bytes.getLong(checked(at, 8))

    fun float(at: Long): Float = bytes.getFloat(checked(at, 4))

    /** Return a number that cannot be negative. */
    fun unsigned(at: Long): Long = int(at).toLong() and 0xffffffffL

    fun take(at: Long, length: Long): ByteArray {
        val from = checked(at, length)
        val taken = ByteArray(length.toInt())
        (bytes.duplicate().position(from) as ByteBuffer).get(taken)
        return taken
    }

    fun text(at: Long, length: Long): String = String(take(at, length), Charsets.UTF_8)

    private fun checked(at: Long, length: Long): Int {
        left -= COST + length
        if (left < 0) throw TfliteError("The model is damaged: it refers to the same data over and over.")
        if (at < 0 || length < 0 || at > size - length) {
            throw TfliteError("The model is damaged: it refers to $length bytes at $at, but has $size.")
        }
        return at.toInt()
    }

    private companion object {
        const val LIMIT = 1L shl 24
        const val COST = 16 // bytes that each read costs in addition to its size
    }
}

/** A table of a FlatBuffer, whose fields are read by their numbers. A missing field is 0, empty or null. */
internal class Table(private val data: Data, private val position: Long) {
    fun int(field: Int): Int = place(field)?.let(data::int) ?: 0

    fun byte(field: Int): Int = place(field)?.let(data::byte) ?: 0

    fun string(field: Int): String = target(field)?.let { data.text(it + 4, data.unsigned(it)) } ?: ""

    fun bytes(field: Int): ByteArray = target(field)?.let { data.take(it + 4, data.unsigned(it)) } ?: ByteArray(0)

    fun ints(field: Int): List<Int> = each(field, 4, data::int)

    fun longs(field: Int): List<Long> = each(field, 8, data::long)

    fun floats(field: Int): List<Float> = each(field, 4, data::float)

    fun table(field: Int): Table? = target(field)?.let { Table(data, it) }

    fun tables(field: Int): List<Table> = each(field, 4) { Table(data, follow(data, it)) }

    private fun <T> each(field: Int, step: Int, read: (Long) -> T): List<T> {
        val target = target(field) ?: return emptyList()
        val found = ArrayList<T>()
        for (index in 0 until data.unsigned(target)) found += read(target + 4 + step * index)
        return found
    }

    private fun target(field: Int): Long? = place(field)?.let { follow(data, it) }

    private fun place(field: Int): Long? {
        val vtable = position - data.int(position)
        val entry = 4 + 2L * field
        val offset = if (entry + 2 <= data.short(vtable)) data.short(vtable + entry) else 0
        return if (offset == 0) null else position + offset
    }

    companion object {
        fun root(data: Data): Table = Table(data, follow(data, 0))

        private fun follow(data: Data, at: Long): Long = at + data.unsigned(at)
    }
}
