package kerasinception

import kerasinception.Preprocessing.Channels
import kerasinception.TfliteFile.Type

/**
 * Normalize and quantize fitted pixels to the values of a file's input, in the arithmetic of Python.
 *
 * @property values the values, which [write] replaces
 */
class InputTensor(file: TfliteFile) {
    private val input = file.input
    private val preprocessing = file.preprocessing
    private val channels = input.shape[3]
    val values: Values = Values.of(input)

    /** An 8-bit pixel as an 8-bit value, for each channel. Null for floats. */
    private val quantized = if (input.type == Type.FLOAT32) null else Array(channels) { channel ->
        ByteArray(256) { pixel -> quantize(pixel, channel) }
    }

    /** A pixel as a float, for each channel. Null for 8 bits, and for gray, which mixes channels. */
    private val normalized =
        if (input.type == Type.FLOAT32 && channels == 3) Array(3) { channel -> FloatArray(256) { normalize(it, channel) } } else null

    /** Write RGB pixels that a `Fitter` of the file's preprocessing returned. */
    fun write(pixels: ByteArray) {
        require(pixels.size == input.shape[1] * input.shape[2] * 3) {
            "`pixels` must be ${input.shape[1]}×${input.shape[2]}×3 bytes. Received: ${pixels.size}"
        }
        when (val values = values) {
            is Values.Bytes -> writeBytes(pixels, values.array)
            is Values.Floats -> writeFloats(pixels, values.array)
        }
    }

    private fun writeBytes(pixels: ByteArray, into: ByteArray) {
        val quantized = checkNotNull(quantized)
        for (i in into.indices) {
            val channel = i % channels
            into[i] = quantized[channel][pixels[source(i, channel)].toInt() and 0xff]
        }
    }

    private fun writeFloats(pixels: ByteArray, into: FloatArray) {
        for (i in into.indices) {
            val channel = i % channels
            val pixel = pixels[source(i, channel)].toInt() and 0xff
            into[i] = normalized?.get(channel)?.get(pixel) ?: normalize(pixel, 0)
        }
    }

    /** Return the byte of RGB pixels that a value is made of. */
    private fun source(i: Int, channel: Int) = when {
        channels == 1 -> 3 * i
        preprocessing.channels == Channels.BGR -> i + 2 - 2 * channel
        else -> i
    }

    private fun normalize(pixel: Int, channel: Int): Float {
        if (channels == 3) return (pixel - preprocessing.mean[channel]) / preprocessing.std[channel]
        val mixed = pixel * RED + pixel * GREEN + pixel * BLUE
        return (mixed - preprocessing.mean[0]) / preprocessing.std[0]
    }

    private fun quantize(pixel: Int, channel: Int): Byte = when {
        input.type == Type.UINT8 -> pixel.toByte()
        preprocessing.isPlain -> (pixel - 128).toByte()
        else -> {
            val steps = Math.rint((normalize(pixel, channel) / input.scale).toDouble()).toFloat() + input.zeroPoint
            steps.coerceIn(-128f, 127f).toInt().toByte()
        }
    }

    private companion object {
        const val RED = 0.299f
        const val GREEN = 0.587f
        const val BLUE = 0.114f
    }
}
