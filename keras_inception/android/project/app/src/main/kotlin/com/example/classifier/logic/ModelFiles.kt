package com.example.classifier.logic

import java.io.File
import java.io.FileOutputStream
import java.io.InputStream
import java.security.MessageDigest

/**
 * The models as files, which a runtime can map. Assets are a part of the app's archive.
 *
 * @property folder of these files alone
 */
class ModelFiles(private val folder: File) {
    /** A model with the SHA-256 of its content. */
    data class Installed(val file: File, val sha256: String)

    /**
     * Return the file of a variant, written if it is missing or was cut. Files of earlier versions are deleted.
     *
     * @param variants all that the app has
     * @param open opens the asset, from its beginning
     */
    fun install(variant: String, variants: Set<String>, open: () -> InputStream): Installed {
        folder.mkdirs()
        var size = 0L
        val sha256 = open().use { stream -> sha256(stream) { size += it } }
        val file = File(folder, "$variant$SEPARATOR$sha256$SUFFIX")
        folder.listFiles().orEmpty().forEach { other ->
            val (of) = other.name.split(SEPARATOR)
            if (other != file && (of == variant || of !in variants)) other.delete()
        }
        if (file.length() != size) {
            val beside = File(folder, "$variant${SEPARATOR}new")
            FileOutputStream(beside).use { stream ->
                open().use { it.copyTo(stream) }
                stream.fd.sync()
            }
            check(beside.renameTo(file)) { "$file cannot be written" }
        }
        return Installed(file, sha256)
    }

    /** Return the SHA-256 of the models that are here. */
    fun models(): Set<String> =
        folder.list().orEmpty().filter { it.endsWith(SUFFIX) }.map { it.removeSuffix(SUFFIX).substringAfter(SEPARATOR) }.toSet()

    private companion object {
        const val SEPARATOR = '@'
        const val SUFFIX = ".tflite"

        fun sha256(stream: InputStream, count: (Int) -> Unit): String {
            val digest = MessageDigest.getInstance("SHA-256")
            val part = ByteArray(1 shl 16)
            while (true) {
                val read = stream.read(part)
                if (read < 0) break
                digest.update(part, 0, read)
                count(read)
            }
            return digest.digest().joinToString("") { "%02x".format(it) }
        }
    }
}
