package kerasinception

import java.io.File

/** The folder of files that Python made for the tests. */
val vectors = File(checkNotNull(System.getenv("VECTORS")) { "VECTORS must be the folder that the tests of Python make" })

/** Return the value in a JSON file. */
@Suppress("UNCHECKED_CAST")
fun <T> json(name: String): T = Json.parse(File(vectors, name).readText()) as T

fun Map<String, Any?>.int(name: String): Int = (getValue(name) as Double).toInt()
