@file:JvmName("Scores")

package kerasinception

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder

/** Write the probabilities of fitted pictures: a .tflite file, a file of RGB bytes, a file to write floats to. */
fun main(arguments: Array<String>) {
    val (model, pictures, scores) = arguments.map(::File)
    LiteRtEngine.classifier(model).use { classifier ->
        val size = classifier.file.preprocessing.run { height * width * 3 }
        val bytes = pictures.readBytes()
        require(bytes.size % size == 0) { "${pictures.path} must be pictures of $size bytes. Received: ${bytes.size} bytes" }
        val found = (bytes.indices step size).map { classifier.classifyFitted(bytes.copyOfRange(it, it + size)).probabilities }
        val written = ByteBuffer.allocate(4 * found.sumOf { it.size }).order(ByteOrder.LITTLE_ENDIAN)
        found.forEach { probabilities -> probabilities.forEach(written::putFloat) }
        scores.writeBytes(written.array())
    }
}
