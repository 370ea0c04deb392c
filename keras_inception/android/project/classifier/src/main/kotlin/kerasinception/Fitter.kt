package kerasinception

import kerasinception.Preprocessing.Channels
import kerasinception.Preprocessing.Fitting
import kerasinception.Preprocessing.Interpolation
import kotlin.math.max
import kotlin.math.min

/**
 * Crop and resize pictures to a network's size, to the same bytes as Python and Pillow.
 *
 * Everything that depends on a picture's size is kept for the next picture, so that a camera's frames allocate nothing.
 * An instance must not be used by two threads at once.
 */
class Fitter(private val preprocessing: Preprocessing) {
    private val height = preprocessing.height
    private val width = preprocessing.width
    private val result = ByteArray(height * width * 3)
    private var fitting: Resize? = null
    private var sourceHeight = 0
    private var sourceWidth = 0

    /**
     * Return the fitted picture: RGB, height × width × 3 bytes, in an array that the next call overwrites.
     *
     * For a network that takes gray, all three channels are the luminance.
     */
    fun fit(frame: Frame): ByteArray {
        val planned = fitting
        val resize = if (planned != null && frame.height == sourceHeight && frame.width == sourceWidth) {
            planned
        } else {
            plan(frame.height, frame.width)
        }
        resize.run(frame, result)
        fitting = resize
        sourceHeight = frame.height
        sourceWidth = frame.width
        return result
    }

    private fun plan(rows: Int, columns: Int): Resize = when (preprocessing.fitting) {
        Fitting.BOX -> box(rows, columns)
        Fitting.SHORTER -> cropped(rows, columns, covering(rows, columns))
        Fitting.STRETCH -> cropped(rows, columns, least())
        Fitting.PAD -> padded(rows, columns)
        Fitting.CENTRAL_CROP -> {
            val top = ((rows - rows * preprocessing.crop) / 2).toInt()
            val left = ((columns - columns * preprocessing.crop) / 2).toInt()
            Bilinear(
                Neighbors(starts(rows - 2 * top, height), rows - 2 * top), top,
                Neighbors(starts(columns - 2 * left, width), columns - 2 * left), left,
            )
        }
    }

    private fun starts(pixels: Int, size: Int) = DoubleArray(size) { it * (pixels.toDouble() / size) }

    /** Keep the largest centered rectangle of the input's aspect ratio, its sides scaled by the crop. */
    private fun box(rows: Int, columns: Int): Resize {
        val scale = preprocessing.crop * min(columns.toDouble() / width, rows.toDouble() / height)
        val across = max(0.0, columns - width * scale) * 0.5
        val down = max(0.0, rows - height * scale) * 0.5
        return between(rows, columns, down, across, rows - down, columns - across)
    }

    private fun between(rows: Int, columns: Int, top: Double, left: Double, bottom: Double, right: Double): Resize =
        if (filters()) {
            resize(Side.between(rows, top, bottom, height), Side.between(columns, left, right, width))
        } else {
            resize(Side(rows, top, bottom - top, height), Side(columns, left, right - left, width))
        }

    private fun least() =
        listOf(Math.rint(height / preprocessing.crop).toInt(), Math.rint(width / preprocessing.crop).toInt())

    /** Return the height and width of a picture after it is resized to cover `least`. */
    private fun covering(rows: Int, columns: Int): List<Int> {
        val (leastHeight, leastWidth) = least()
        return if (columns.toLong() * leastHeight <= rows.toLong() * leastWidth) {
            listOf((rows.toLong() * leastWidth / columns).toInt(), leastWidth)
        } else {
            listOf(leastHeight, (columns.toLong() * leastHeight / rows).toInt())
        }
    }

    /** Resize to `whole` and keep the center. */
    private fun cropped(rows: Int, columns: Int, whole: List<Int>): Resize {
        val (wholeHeight, wholeWidth) = whole
        val top = Math.rint((wholeHeight - height) / 2.0).toInt()
        val left = Math.rint((wholeWidth - width) / 2.0).toInt()
        if (wholeHeight.toLong() * wholeWidth > LARGEST) {
            val down = rows.toDouble() / wholeHeight
            val across = columns.toDouble() / wholeWidth
            return between(rows, columns, top * down, left * across, (top + height) * down, (left + width) * across)
        }
        return resize(
            Side(rows, 0.0, rows.toDouble(), wholeHeight, top, height),
            Side(columns, 0.0, columns.toDouble(), wholeWidth, left, width),
        )
    }

    /** Resize a picture so that it just fits, in the middle of a gray ground. */
    private fun padded(rows: Int, columns: Int): Resize {
        val (innerHeight, innerWidth) = if (columns.toLong() * height <= rows.toLong() * width) {
            listOf(height, max(1, (columns.toLong() * height / rows).toInt()))
        } else {
            listOf(max(1, (rows.toLong() * width / columns).toInt()), width)
        }
        val top = Math.rint((height - innerHeight) / 2.0).toInt()
        val left = Math.rint((width - innerWidth) / 2.0).toInt()
        result.fill(PADDING)
        return resize(
            Side(rows, 0.0, rows.toDouble(), innerHeight),
            Side(columns, 0.0, columns.toDouble(), innerWidth),
            Place(3 * (top * width + left), 3 * width),
        )
    }

    private fun filters() = preprocessing.antialias || preprocessing.interpolation == Interpolation.NEAREST

    private fun resize(rows: Side, columns: Side, place: Place = Place(0, 3 * width)): Resize = when {
        !filters() -> Bilinear(
            Neighbors(rows.centers(), rows.pixels), 0, Neighbors(columns.centers(), columns.pixels), 0, place,
        )
        rows.isCut && columns.isCut -> Copy(
            IntArray(rows.count) { rows.from.toInt() + rows.offset + it },
            IntArray(columns.count) { columns.from.toInt() + columns.offset + it },
            place,
        )
        preprocessing.interpolation == Interpolation.NEAREST -> Copy(rows.nearest(), columns.nearest(), place)
        isVerticalFirst(rows, columns) -> VerticalFirst(taps(rows), taps(columns), columns.pixels, place)
        else -> HorizontalFirst(taps(rows), taps(columns), columns.pixels, place)
    }

    private fun taps(side: Side) = Taps(side, preprocessing.interpolation)

    /** Pillow's rule for which pass comes first: each pass rounds to bytes. */
    private fun isVerticalFirst(rows: Side, columns: Side): Boolean {
        val shorterBy = rows.pixels - rows.size
        return shorterBy > 0 && shorterBy > (columns.pixels - columns.size) * 2
    }

    /** Where the pixels of a resize go: the first byte, and the bytes from one row to the next. */
    private class Place(val start: Int, val stride: Int)

    private interface Resize {
        fun run(frame: Frame, result: ByteArray)
    }

    private val gray get() = preprocessing.channels == Channels.GRAY

    private inner class Copy(val rows: IntArray, val columns: IntArray, val place: Place) : Resize {
        override fun run(frame: Frame, result: ByteArray) {
            for (row in rows.indices) {
                var to = place.start + row * place.stride
                for (column in columns) {
                    // Rounding can put the last position just beyond the edge; it is black in Pillow too.
                    val inside = rows[row] < frame.height && column < frame.width
                    val color = if (inside) frame.color(column, rows[row], gray) else 0
                    result[to++] = (color shr 16).toByte()
                    result[to++] = (color shr 8).toByte()
                    result[to++] = color.toByte()
                }
            }
        }
    }

    private inner class Bilinear(
        val rows: Neighbors,
        val top: Int,
        val columns: Neighbors,
        val left: Int,
        val place: Place = Place(0, 3 * width),
    ) : Resize {
        override fun run(frame: Frame, result: ByteArray) {
            for (row in rows.before.indices) {
                var to = place.start + row * place.stride
                val upper = top + rows.before[row]
                val lower = top + rows.after[row]
                val down = rows.share[row]
                for (column in columns.before.indices) {
                    val before = left + columns.before[column]
                    val after = left + columns.after[column]
                    val across = columns.share[column]
                    val upperBefore = frame.color(before, upper, gray)
                    val upperAfter = frame.color(after, upper, gray)
                    val lowerBefore = frame.color(before, lower, gray)
                    val lowerAfter = frame.color(after, lower, gray)
                    var shift = 16
                    while (shift >= 0) {
                        val above = between(upperBefore shr shift, upperAfter shr shift, across)
                        val below = between(lowerBefore shr shift, lowerAfter shr shift, across)
                        result[to++] = Math.rint(above * (1 - down) + below * down).toInt().toByte()
                        shift -= 8
                    }
                }
            }
        }

        private fun between(first: Int, second: Int, share: Double) =
            (first and 0xff) * (1 - share) + (second and 0xff) * share
    }

    private inner class HorizontalFirst(val rows: Taps, val columns: Taps, pixels: Int, val place: Place) : Resize {
        private val line = ByteArray(3 * pixels)
        private val stride = 3 * columns.starts.size
        private val narrow = ByteArray((rows.end - rows.first) * stride)
        private val sums = IntArray(stride)

        override fun run(frame: Frame, result: ByteArray) {
            for (y in rows.first until rows.end) {
                frame.row(y, line, gray)
                narrowed(line, columns, narrow, (y - rows.first) * stride)
            }
            for (row in rows.starts.indices) {
                sums.fill(Taps.HALF)
                for (i in 0 until rows.counts[row]) {
                    added(sums, narrow, (rows.starts[row] + i - rows.first) * stride, rows.weights[row * rows.most + i])
                }
                val to = place.start + row * place.stride
                for (i in sums.indices) result[to + i] = Taps.byte(sums[i])
            }
        }
    }

    private inner class VerticalFirst(val rows: Taps, val columns: Taps, pixels: Int, val place: Place) : Resize {
        private val line = ByteArray(3 * pixels)
        private val sums = IntArray(3 * pixels)

        override fun run(frame: Frame, result: ByteArray) {
            for (row in rows.starts.indices) {
                sums.fill(Taps.HALF)
                for (i in 0 until rows.counts[row]) {
                    frame.row(rows.starts[row] + i, line, gray)
                    added(sums, line, 0, rows.weights[row * rows.most + i])
                }
                for (i in sums.indices) line[i] = Taps.byte(sums[i])
                narrowed(line, columns, result, place.start + row * place.stride)
            }
        }
    }

    private companion object {
        const val PADDING = 128.toByte() // gray
        const val LARGEST = 1 shl 23 // pixels; beyond this, only the part that survives the crop is resized

        /** Add the weighted bytes of a row to sums. */
        fun added(sums: IntArray, bytes: ByteArray, from: Int, weight: Int) {
            for (i in sums.indices) sums[i] += (bytes[from + i].toInt() and 0xff) * weight
        }

        /** Filter a row of RGB horizontally. */
        fun narrowed(line: ByteArray, columns: Taps, into: ByteArray, at: Int) {
            var to = at
            for (column in columns.starts.indices) {
                var red = Taps.HALF
                var green = Taps.HALF
                var blue = Taps.HALF
                var from = 3 * columns.starts[column]
                val first = column * columns.most
                for (tap in first until first + columns.counts[column]) {
                    val weight = columns.weights[tap]
                    red += (line[from++].toInt() and 0xff) * weight
                    green += (line[from++].toInt() and 0xff) * weight
                    blue += (line[from++].toInt() and 0xff) * weight
                }
                into[to++] = Taps.byte(red)
                into[to++] = Taps.byte(green)
                into[to++] = Taps.byte(blue)
            }
        }
    }
}
