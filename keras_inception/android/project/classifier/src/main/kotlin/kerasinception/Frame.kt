package kerasinception

import java.nio.ByteBuffer

/** How a stored picture must be turned to be upright, as EXIF numbers it. */
enum class Orientation {
    UPRIGHT, MIRRORED, UPSIDE_DOWN, UPSIDE_DOWN_MIRRORED, TRANSPOSED, TURN_RIGHT, TRANSVERSE, TURN_LEFT;

    internal val swapsSides get() = this >= TRANSPOSED
    internal val fromRight get() = this in listOf(MIRRORED, UPSIDE_DOWN, TRANSVERSE, TURN_LEFT)
    internal val fromBottom get() = this in listOf(UPSIDE_DOWN, UPSIDE_DOWN_MIRRORED, TURN_RIGHT, TRANSVERSE)

    companion object {
        /** Return the orientation for EXIF's number; upright if it is not 1 to 8. */
        fun ofExif(number: Int): Orientation = values().getOrElse(number - 1) { UPRIGHT }

        /** Return the orientation of a camera's picture that must be turned clockwise by 0, 90, 180 or 270 degrees. */
        fun ofRotation(degrees: Int): Orientation = when (Math.floorMod(degrees, 360)) {
            0 -> UPRIGHT
            90 -> TURN_RIGHT
            180 -> UPSIDE_DOWN
            270 -> TURN_LEFT
            else -> throw IllegalArgumentException("`degrees` must be a multiple of 90. Received: $degrees")
        }
    }
}

/**
 * Rows of RGBA pixels, unpremultiplied, 8 bits each, in memory that is not copied.
 *
 * It can be reused: a camera's next picture is another buffer with the same geometry.
 */
class Frame {
    /** Width and height of the upright picture. */
    var width = 0
        private set
    var height = 0
        private set

    private var pixels: ByteBuffer = ByteBuffer.allocate(0)
    private var start = 0
    private var stepX = 0
    private var stepY = 0

    /**
     * Show a rectangle of a buffer.
     *
     * @param pixels the rows; bytes beyond a row's pixels are not read
     * @param rowStride bytes from one row to the next
     * @param left of the rectangle, in pixels as they are stored
     * @param orientation how it must be turned to be upright
     * @throws IllegalArgumentException if the buffer does not hold the rectangle
     */
    fun show(
        pixels: ByteBuffer,
        width: Int,
        height: Int,
        rowStride: Int = width * PIXEL,
        left: Int = 0,
        top: Int = 0,
        orientation: Orientation = Orientation.UPRIGHT,
    ): Frame {
        require(width > 0 && height > 0) { "a picture must have pixels. Received: $width×$height" }
        require(left >= 0 && top >= 0) { "the rectangle must be inside of the picture. Received: $left, $top" }
        val end = (top + height - 1L) * rowStride + (left.toLong() + width) * PIXEL
        require(rowStride >= (left.toLong() + width) * PIXEL && end <= pixels.limit()) {
            "$width×$height pixels at $left, $top in rows of $rowStride bytes need $end bytes. Received: ${pixels.limit()}"
        }
        this.pixels = pixels
        start = top * rowStride + left * PIXEL
        var across = PIXEL
        var down = rowStride
        if (orientation.fromRight) {
            start += (width - 1) * across
            across = -across
        }
        if (orientation.fromBottom) {
            start += (height - 1) * down
            down = -down
        }
        stepX = if (orientation.swapsSides) down else across
        stepY = if (orientation.swapsSides) across else down
        this.width = if (orientation.swapsSides) height else width
        this.height = if (orientation.swapsSides) width else height
        return this
    }

    /** Copy an upright row as RGB, on white where it is translucent. */
    internal fun row(y: Int, into: ByteArray, gray: Boolean) {
        var from = start + y * stepY
        var to = 0
        for (x in 0 until width) {
            val color = colorAt(from, gray)
            into[to] = (color shr 16).toByte()
            into[to + 1] = (color shr 8).toByte()
            into[to + 2] = color.toByte()
            to += 3
            from += stepX
        }
    }

    /** Return an upright pixel as 0xRRGGBB, on white where it is translucent. */
    internal fun color(x: Int, y: Int, gray: Boolean): Int = colorAt(start + y * stepY + x * stepX, gray)

    private fun colorAt(at: Int, gray: Boolean): Int {
        val alpha = pixels.get(at + 3).toInt() and 0xff
        var red = pixels.get(at).toInt() and 0xff
        var green = pixels.get(at + 1).toInt() and 0xff
        var blue = pixels.get(at + 2).toInt() and 0xff
        if (alpha != 255) {
            red = onWhite(red, alpha)
            green = onWhite(green, alpha)
            blue = onWhite(blue, alpha)
        }
        if (gray) {
            val luminance = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) shr 16 // Pillow's mode L
            return luminance * 0x010101
        }
        return (red shl 16) or (green shl 8) or blue
    }

    private companion object {
        const val PIXEL = 4 // bytes

        /** Composite a channel on white, rounded as by Pillow's `alpha_composite`. */
        fun onWhite(value: Int, alpha: Int): Int {
            val sum = (value * alpha + 255 * (255 - alpha)) * 128 + 128 * 128
            return ((sum shr 8) + sum) shr 15
        }
    }
}
