package com.example.classifier.logic

/** How far a picture is reduced while it is decoded, so that it fits into memory. */
object Sampling {
    private const val LARGE = 16_000_000L // pixels
    private const val LARGEST = 64_000_000L // pixels: a quarter of a gigabyte
    private const val INPUTS = 4 // sides of the input that a side should keep

    /**
     * Return the factor, a power of two, for a picture.
     *
     * It is 1 up to 16 megapixels. A larger picture keeps four times the input's side where memory allows it.
     *
     * @param side the longer one of the input
     */
    fun factor(width: Int, height: Int, side: Int): Int {
        var factor = 1
        while (pixels(width, height, factor) > LARGE) {
            val next = 2 * factor
            val isFine = minOf(width, height) / next >= INPUTS * side
            if (!isFine && pixels(width, height, factor) <= LARGEST) break
            factor = next
        }
        return factor
    }

    private fun pixels(width: Int, height: Int, factor: Int) = (width / factor).toLong() * (height / factor)
}
