package kerasinception

import kerasinception.Preprocessing.Interpolation
import kotlin.math.abs
import kotlin.math.max
import kotlin.math.min
import kotlin.math.sin

/**
 * One side of a resize: which part of a picture's side becomes how many pixels, and which of those are kept.
 *
 * @property pixels of the picture's side
 * @property from where the part begins, in fractions of pixels
 * @property length of the part
 * @property size number of pixels that it becomes
 * @property offset first of these that is kept
 * @property count number of these that are kept
 */
internal class Side(
    val pixels: Int,
    val from: Double,
    val length: Double,
    val size: Int,
    val offset: Int = 0,
    val count: Int = size,
) {
    /** Whether whole pixels are kept as they are. */
    val isCut get() = from == Math.floor(from) && length == size.toDouble()

    /** Return the nearest pixel of each place. Steps are accumulated as in Pillow, to round alike. */
    fun nearest(): IntArray {
        val step = length / size
        var place = from + step * 0.5
        repeat(offset) { place += step }
        return IntArray(count) { place.toInt().also { place += step } }
    }

    /** Return the center of each place, in pixels. */
    fun centers() = DoubleArray(count) { from + (offset + it + 0.5) * (length / size) - 0.5 }

    companion object {
        /** Return a side whose part is given as Pillow stores it, in 32-bit floats. */
        fun between(pixels: Int, from: Double, to: Double, size: Int, offset: Int = 0, count: Int = size): Side {
            val first = from.toFloat()
            return Side(pixels, first.toDouble(), (to.toFloat() - first).toDouble(), size, offset, count)
        }
    }
}

/**
 * For each place of a side, the pixels that contribute to it, with their weights, in fixed point as in Pillow.
 *
 * The weights of place `i` begin at `i * most` in [weights].
 */
internal class Taps(side: Side, interpolation: Interpolation) {
    val starts = IntArray(side.count)
    val counts = IntArray(side.count)
    val most: Int
    val weights: IntArray

    init {
        val scale = side.length / side.size
        val stretch = max(scale, 1.0)
        val support = SUPPORT.getValue(interpolation) * stretch
        most = Math.ceil(support).toInt() * 2 + 1
        weights = IntArray(side.count * most)
        val exact = DoubleArray(most)
        for (i in 0 until side.count) {
            val center = side.from + (side.offset + i + 0.5) * scale
            val start = max((center - support + 0.5).toInt(), 0)
            val count = min((center + support + 0.5).toInt(), side.pixels) - start
            var sum = 0.0
            for (x in 0 until count) {
                exact[x] = weight(interpolation, (x + start - center + 0.5) * (1 / stretch))
                sum += exact[x]
            }
            for (x in 0 until count) {
                weights[i * most + x] = fixed(if (sum == 0.0) exact[x] else exact[x] / sum)
            }
            starts[i] = start
            counts[i] = max(count, 0)
        }
    }

    /** The first pixel that is read, and the one after the last. */
    val first get() = starts.first()
    val end get() = starts.last() + counts.last()

    companion object {
        const val PRECISION = 22 // fraction bits: 32 minus 8 for a pixel and 2 for filters that overshoot
        const val HALF = 1 shl (PRECISION - 1)
        private val SUPPORT =
            mapOf(Interpolation.BILINEAR to 1, Interpolation.BICUBIC to 2, Interpolation.LANCZOS to 3)

        private fun weight(interpolation: Interpolation, x: Double): Double = when (interpolation) {
            Interpolation.BILINEAR -> max(0.0, 1 - abs(x))
            Interpolation.BICUBIC -> bicubic(abs(x))
            Interpolation.LANCZOS -> if (x >= -3 && x < 3) sinc(x) * sinc(x / 3) else 0.0
            Interpolation.NEAREST -> throw IllegalArgumentException("nearest has no weights")
        }

        private fun bicubic(x: Double): Double = when {
            x < 1 -> (1.5 * x - 2.5) * x * x + 1
            x < 2 -> (((x - 5) * x + 8) * x - 4) * -0.5
            else -> 0.0
        }

        private fun sinc(x: Double) = if (x == 0.0) 1.0 else sin(x * Math.PI) / (x * Math.PI)

        private fun fixed(weight: Double) = (weight * (1 shl PRECISION) + (if (weight < 0) -0.5 else 0.5)).toInt()

        /** Return a sum of weighted pixels as a byte. */
        fun byte(sum: Int): Byte = (sum shr PRECISION).coerceIn(0, 255).toByte()
    }
}

/** For each place of a side, the pixels before and after it, and its distance from the former. */
internal class Neighbors(places: DoubleArray, pixels: Int) {
    private val inside = DoubleArray(places.size) { places[it].coerceIn(0.0, pixels - 1.0) }
    val before = IntArray(places.size) { inside[it].toInt() }
    val after = IntArray(places.size) { min(before[it] + 1, pixels - 1) }
    val share = DoubleArray(places.size) { inside[it] - before[it] }
}
