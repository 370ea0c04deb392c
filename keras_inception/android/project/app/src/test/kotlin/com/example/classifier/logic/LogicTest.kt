package com.example.classifier.logic

import com.example.classifier.logic.Verdicts.Key
import com.example.classifier.logic.Verdicts.Outcome
import com.example.classifier.logic.Verdicts.Verdict
import kerasinception.TfliteError
import java.io.File
import java.nio.file.Files
import kotlin.test.AfterTest
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertNull
import kotlin.test.assertTrue

class LogicTest {
    private val folder = Files.createTempDirectory("logic").toFile()

    @AfterTest
    fun clean() {
        folder.deleteRecursively()
    }

    private fun file(name: String, content: String) = File(folder, name).apply { writeText(content) }

    private fun names() = folder.list().orEmpty().toSet()

    @Test
    fun `export json is read`() {
        val text = """{"name": "Flowers", "not_sure": null, "default": "int8",
            "variants": {"int8": {"file": "a.tflite", "half_precision": false}}}"""
        val variants = mapOf("int8" to Export.Variant("a.tflite", false))
        assertEquals(Export("Flowers", null, "int8", variants), Export.parse(text))
        assertEquals(0.5f, Export.parse(text.replace("null", "0.5")).notSure)
        for (other in listOf("", "[]", "{}", text.replace("null", "\"x\""), text.replace("\"int8\",", "\"float\","))) {
            assertFailsWith<TfliteError>(other) { Export.parse(other) }
        }
    }

    @Test
    fun `a model is written once and again when it changes or was cut`() {
        val files = ModelFiles(folder)
        var opened = 0
        fun install(content: String, variant: String = "int8") =
            files.install(variant, setOf("int8", "float32")) { opened++; content.byteInputStream() }

        val first = install("abc")
        assertEquals("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", first.sha256)
        assertContentEquals("abc".toByteArray(), first.file.readBytes())
        assertEquals(2, opened)
        install("abc")
        assertEquals(3, opened, "only to read its hash")

        first.file.writeText("ab")
        assertContentEquals("abc".toByteArray(), install("abc").file.readBytes())

        install("abcd", "float32")
        file("dynamic@0.tflite", "of an earlier version")
        file("int8@new", "a start")
        val second = install("x")
        assertFalse(first.file.exists())
        assertEquals(2, names().size)
        assertTrue(second.sha256 in files.models() && files.models().size == 2)
    }

    @Test
    fun `weights are of one model and one version and complete`() {
        val cache = WeightsCache(folder, "2.3.0", "arm64-v8a")
        val file = cache.prepare("aa", setOf("aa", "bb"))
        assertEquals("aa-2.3.0-arm64-v8a.xnnpack", file.name)
        cache.seal("aa")
        assertEquals(emptySet(), names(), "nothing was written")

        file.writeText("weights")
        cache.prepare("aa", setOf("aa"))
        assertFalse(file.exists(), "it was not sealed")

        file.writeText("weights")
        cache.seal("aa")
        cache.prepare("bb", setOf("aa", "bb"))
        assertTrue(file.exists())

        WeightsCache(folder, "2.3.0", "x86_64").prepare("aa", setOf("aa"))
        assertEquals(emptySet(), names(), "it is of another processor")

        file.writeText("weights")
        cache.seal("aa")
        file.writeText("wei")
        cache.prepare("aa", setOf("aa"))
        assertEquals(emptySet(), names(), "it is cut")

        file.writeText("weights")
        cache.seal("aa")
        cache.prepare("bb", setOf("bb"))
        assertEquals(emptySet(), names(), "its model is gone")
    }

    private val key = Key("aa", "1", "brand/device:16/build")

    @Test
    fun `a verdict holds for its model and app and system`() {
        assertNull(Verdicts(folder).of(key))
        Verdicts(folder).put(key, Verdict(Outcome.FAILED, "it says a | where b is right\n"))
        assertEquals(Verdict(Outcome.FAILED, "it says a | where b is right\n"), Verdicts(folder).of(key))
        for (other in listOf(key.copy(model = "bb"), key.copy(app = "2"), key.copy(system = "other"))) {
            assertNull(Verdicts(folder).of(other))
        }
        Verdicts(folder).put(key.copy(model = "bb"), Verdict(Outcome.TRUSTED))
        assertEquals(Outcome.FAILED, Verdicts(folder).of(key)?.outcome)
        Verdicts(folder).put(key.copy(app = "2"), Verdict(Outcome.TRUSTED))
        assertNull(Verdicts(folder).of(key), "forgotten with its version")
    }

    @Test
    fun `a crash is known when the app starts again`() {
        val verdicts = Verdicts(folder)
        assertEquals(7, verdicts.trying(key) { 7 })
        assertFailsWith<IllegalStateException> { verdicts.trying(key) { error("caught") } }
        assertNull(Verdicts(folder).of(key), "what was caught is no crash")

        verdicts.trying(key) {
            folder.copyRecursively(File(folder.parentFile, "${folder.name}-crashed"))
        }
        val crashed = File(folder.parentFile, "${folder.name}-crashed")
        try {
            assertEquals(Verdict(Outcome.CRASHED), Verdicts(crashed).of(key))
            assertEquals(Verdict(Outcome.CRASHED), Verdicts(crashed).of(key), "for good")
            assertNull(Verdicts(crashed).of(key.copy(model = "bb")))
        } finally {
            crashed.deleteRecursively()
        }
    }

    @Test
    fun `damaged verdicts are none`() {
        for (content in listOf("\u0000\u0001", "a=\\u00", "1|brand/device\\:16/build|aa=PERHAPS")) {
            file("verdicts.properties", content)
            assertNull(Verdicts(folder).of(key))
        }
    }

    @Test
    fun `pictures above 16 megapixels are reduced as little as is needed`() {
        assertEquals(1, Sampling.factor(4000, 4000, 224))
        assertEquals(2, Sampling.factor(4001, 4000, 224))
        assertEquals(4, Sampling.factor(12000, 8400, 299))
        assertEquals(1, Sampling.factor(40000, 800, 299), "below four inputs already")
        assertEquals(1, Sampling.factor(20000, 2000, 299), "half would be less than four inputs")
        assertTrue(Sampling.factor(200000, 2000, 299) > 2, "memory comes first")
        assertEquals(1, Sampling.factor(0, 0, 299))
        assertTrue(Sampling.factor(Int.MAX_VALUE, Int.MAX_VALUE, 299) >= 1 shl 18)
    }

    @Test
    fun `the median is of the latest times`() {
        val median = Median(3)
        assertEquals(listOf(9L, 1L, 5L, 5L, 7L), listOf(9L, 1L, 5L, 7L, 8L).map { median.add(it) })
        median.clear()
        assertEquals(2, median.add(2))
    }
}
