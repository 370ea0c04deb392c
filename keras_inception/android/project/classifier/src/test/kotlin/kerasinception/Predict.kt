@file:JvmName("Predict")

package kerasinception

import java.io.File
import java.io.IOException
import java.math.BigDecimal
import kotlin.system.exitProcess

/** Print what `keras-inception predict FILE PICTURE... --json` prints. */
fun main(arguments: Array<String>) {
    if (arguments.size < 2) fail("give a .tflite file and pictures")
    try {
        LiteRtEngine.classifier(File(arguments[0])).use { classifier ->
            var unreadable = false
            val answers = arguments.drop(1).map { path ->
                try {
                    val top = classifier.classify(decoded(File(path))).top(5)
                    val guesses = top.joinToString(", ") {
                        """{"label": ${quoted(it.label)}, "probability": ${shown(it.probability.toDouble())}}"""
                    }
                    """{"path": ${quoted(path)}, "top": [$guesses]}"""
                } catch (error: IOException) {
                    unreadable = true
                    """{"path": ${quoted(path)}, "error": ${quoted(error.message ?: "not readable")}}"""
                }
            }
            println(answers.joinToString(", ", "[", "]"))
            if (unreadable) exitProcess(1)
        }
    } catch (error: TfliteError) {
        fail("${error.message}")
    } catch (error: IOException) {
        fail("${error.message}")
    }
}

private fun fail(message: String): Nothing {
    System.err.println("error: $message")
    exitProcess(2)
}

private val ESCAPES = mapOf('"' to "\\\"", '\\' to "\\\\", '\n' to "\\n", '\r' to "\\r", '\t' to "\\t", '\b' to "\\b", '\u000c' to "\\f")

/** Return a text as JSON, as Python writes it. */
fun quoted(text: String): String = text.map { character ->
    ESCAPES[character] ?: if (character < ' ') "\\u%04x".format(character.code) else "$character"
}.joinToString("", "\"", "\"")

/** Return a number as Python prints it: with as few digits as tell it from all others. */
fun shown(number: Double): String {
    if (number == 0.0) return "0.0"
    val shortest = (0..16).asSequence().map { "%.${it}e".format(java.util.Locale.ROOT, number) }.first { it.toDouble() == number }
    val (digits, exponent) = shortest.split("e")
    if (exponent.toInt() in -4..15) {
        val plain = BigDecimal(shortest).toPlainString()
        return if ('.' in plain) plain else "$plain.0"
    }
    return "${digits}e${exponent.take(1)}${exponent.drop(1).padStart(2, '0')}"
}
