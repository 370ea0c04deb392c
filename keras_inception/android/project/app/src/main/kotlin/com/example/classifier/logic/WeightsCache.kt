package com.example.classifier.logic

import java.io.File

/**
 * Where XNNPACK keeps weights in the order that it computes them in.
 *
 * It takes a file as it is, though it be of another model, of another version, or cut. So a file's name says what it is
 * of, and its length is written down once it is complete.
 *
 * @property folder of these files alone
 * @property version of the runtime
 * @property abi of the processor
 */
class WeightsCache(private val folder: File, private val version: String, private val abi: String) {
    /**
     * Return the file for a model, which need not exist. Files that cannot be used are deleted.
     *
     * @param model SHA-256 of its content
     * @param models SHA-256 of all models that may be used again
     */
    fun prepare(model: String, models: Set<String>): File {
        folder.mkdirs()
        val usable = (models + model).map { file(it) }.filter { isComplete(it) }
        val kept = usable + usable.map { length(it) }
        folder.listFiles().orEmpty().filter { it !in kept }.forEach { it.delete() }
        return file(model)
    }

    /** Say that the runtime has written the file of a model to its end. */
    fun seal(model: String) {
        val file = file(model)
        if (file.isFile) length(file).writeText("${file.length()}")
    }

    private fun isComplete(file: File) = file.isFile && length(file).let { it.isFile && it.readText() == "${file.length()}" }

    private fun file(model: String) = File(folder, "$model-$version-$abi.xnnpack")

    private fun length(file: File) = File(folder, "${file.name}.length")
}
