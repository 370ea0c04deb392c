package com.example.classifier.logic

import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.util.Properties

/**
 * Whether the GPU gives the answers of Python, remembered for each model, version of the app and build of the system.
 *
 * A crash in a driver ends the app, and cannot be caught. So a marker is written before the GPU is tried; if it is still
 * there when the app starts, the GPU ended it.
 *
 * @property folder of these files alone
 */
class Verdicts(private val folder: File) {
    enum class Outcome { TRUSTED, FAILED, CRASHED }

    /**
     * @property reason of a failure, in English; empty if it is not known
     */
    data class Verdict(val outcome: Outcome, val reason: String = "")

    /**
     * What a verdict holds for.
     *
     * @property model SHA-256 of its content
     */
    data class Key(val model: String, val app: String, val system: String) {
        internal val text get() = "$app|$system|$model"
    }

    private val marker = File(folder, "trying")
    private val file = File(folder, "verdicts.properties")
    private val known = Properties()

    init {
        folder.mkdirs()
        try {
            file.takeIf { it.isFile }?.inputStream()?.use { known.load(it) }
        } catch (_: IOException) {
            known.clear()
        } catch (_: IllegalArgumentException) { // a damaged escape
            known.clear()
        }
        if (marker.isFile) {
            known[marker.readText()] = Outcome.CRASHED.name
            save()
            marker.delete()
        }
    }

    /** Return what is known; null if the GPU is still to be tried. */
    fun of(key: Key): Verdict? {
        val (name, reason) = known.getProperty(key.text)?.split('|', limit = 2)?.let { it[0] to it.getOrElse(1) { "" } } ?: return null
        return Outcome.values().find { it.name == name }?.let { Verdict(it, reason) }
    }

    /** Remember a verdict, and forget those of other versions of the app and the system. */
    fun put(key: Key, verdict: Verdict) {
        val current = key.copy(model = "").text
        known.keys.filterNot { (it as String).startsWith(current) }.forEach { known.remove(it) }
        known[key.text] = "${verdict.outcome.name}|${verdict.reason}"
        save()
    }

    /** Do what may crash. */
    fun <T> trying(key: Key, act: () -> T): T {
        write(marker) { it.write(key.text.toByteArray()) }
        try {
            return act()
        } finally {
            marker.delete()
        }
    }

    private fun save() {
        val beside = File(folder, "verdicts.new")
        write(beside) { known.store(it, null) }
        beside.renameTo(file)
    }

    private fun write(file: File, content: (FileOutputStream) -> Unit) = FileOutputStream(file).use { stream ->
        content(stream)
        stream.fd.sync()
    }
}
