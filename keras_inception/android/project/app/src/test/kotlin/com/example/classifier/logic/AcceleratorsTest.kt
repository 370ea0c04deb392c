package com.example.classifier.logic

import com.example.classifier.logic.Verdicts.Key
import com.example.classifier.logic.Verdicts.Outcome
import com.example.classifier.logic.Verdicts.Verdict
import java.io.File
import java.nio.file.Files
import kotlin.test.AfterTest
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertNull
import kotlin.test.assertTrue

class AcceleratorsTest {
    private val folder = Files.createTempDirectory("verdicts").toFile()
    private val key = Key("aa", "1", "build")
    private val made = ArrayList<Fake>()

    private class Fake(val onGpu: Boolean) : AutoCloseable {
        var closed = false

        override fun close() {
            closed = true
        }
    }

    @AfterTest
    fun clean() {
        folder.deleteRecursively()
    }

    private fun accelerators(wrong: String? = null, create: (Boolean) -> Fake = { Fake(it) }) =
        Accelerators(Verdicts(folder), { create(it).also(made::add) }) { _, onGpu -> wrong.takeIf { onGpu } }

    @Test
    fun `the CPU is taken by default`() {
        val choice = accelerators().choose(key, gpuWanted = false)
        assertFalse(choice.onGpu)
        assertNull(choice.refused)
        assertEquals(listOf(false), made.map { it.onGpu })
    }

    @Test
    fun `a right GPU is taken and remembered`() {
        assertTrue(accelerators().choose(key, gpuWanted = true).onGpu)
        assertEquals(Outcome.TRUSTED, Verdicts(folder).of(key)?.outcome)
        assertTrue(accelerators().choose(key, gpuWanted = true).onGpu)
    }

    @Test
    fun `a wrong GPU is closed and not tried again`() {
        val first = accelerators("it says cat").choose(key, gpuWanted = true)
        assertEquals(Verdict(Outcome.FAILED, "it says cat"), first.refused)
        assertEquals(listOf(true to true, false to false), made.map { it.onGpu to it.closed })
        made.clear()
        val second = accelerators().choose(key, gpuWanted = true)
        assertEquals(Verdict(Outcome.FAILED, "it says cat"), second.refused)
        assertEquals(listOf(false), made.map { it.onGpu })
        assertNull(accelerators().choose(key, gpuWanted = false).refused, "nobody asked for it")
    }

    @Test
    fun `a GPU that cannot be made is refused with its reason`() {
        for (error in listOf(IllegalStateException("no OpenCL"), UnsatisfiedLinkError("no libLiteRtClGlAccelerator.so"))) {
            folder.deleteRecursively()
            val choice = accelerators { if (it) throw error else Fake(false) }.choose(key, gpuWanted = true)
            assertEquals(Verdict(Outcome.FAILED, error.message!!), choice.refused)
            assertFalse(choice.onGpu)
        }
    }

    @Test
    fun `a GPU that ended the app is refused`() {
        folder.mkdirs()
        Verdicts(folder).trying(key) { File(folder, "trying").copyTo(File(folder, "kept")) }
        File(folder, "kept").renameTo(File(folder, "trying"))
        assertEquals(Outcome.CRASHED, accelerators().choose(key, gpuWanted = true).refused?.outcome)
    }

    @Test
    fun `answers on the CPU that are not those of Python are told`() {
        val doubtful = Accelerators(Verdicts(folder), ::Fake) { _, _ -> "a probability differs" }
        assertEquals("a probability differs", doubtful.choose(key, gpuWanted = false).doubt)
    }

    @Test
    fun `a failure on the CPU is the caller's to show and leaves nothing open`() {
        val accelerators = Accelerators(Verdicts(folder), { Fake(it).also(made::add) }) { _, _ -> throw IllegalStateException("no") }
        assertFailsWith<IllegalStateException> { accelerators.choose(key, gpuWanted = false) }
        assertTrue(made.single().closed)
    }
}
