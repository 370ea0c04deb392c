package com.example.classifier.logic

import com.example.classifier.UiState
import com.example.classifier.UiState.Problem
import com.example.classifier.UiState.Source
import java.io.ByteArrayInputStream
import java.io.File
import java.io.FileNotFoundException
import java.io.InputStream
import java.nio.ByteBuffer
import java.nio.file.Files
import java.util.concurrent.CountDownLatch
import java.util.concurrent.TimeUnit
import kerasinception.Engine
import kerasinception.Frame
import kerasinception.TfliteFile
import kerasinception.Values
import kotlin.test.AfterTest
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertNotNull
import kotlin.test.assertNull
import kotlin.test.assertTrue

/** The thread with an exported file, whose answers an engine of the test gives. */
class ModelThreadTest {
    private val folder = Files.createTempDirectory("model").toFile()
    private val export = File(checkNotNull(System.getenv("EXPORT")) { "EXPORT must be an app's assets" })
    private val content = export.listFiles().orEmpty().associate { it.name to it.readBytes() }.toMutableMap()
    private val made = mutableListOf<Fixed>()
    private var state = UiState()
    private var works: (Boolean) -> Boolean = { true }

    init {
        // The engine of this test gives every picture the same answer.
        val (model) = content.filterKeys { it.endsWith(".tflite") }.values.toList()
        val label = TfliteFile.read(ByteBuffer.wrap(model)).labels[0]
        content["sample.json"] = """{"pictures": [{"picture": "sample.png",
            "top5": {"int8": [{"label": "$label", "probability": ${SCORE / 256.0}}]}}]}""".toByteArray()
    }

    private val assets = object : Assets {
        override fun open(name: String): InputStream = ByteArrayInputStream(content[name] ?: throw FileNotFoundException(name))

        override fun pixels(name: String) = ByteArray(SIDE * SIDE * 3)

        override fun map(file: File): ByteBuffer = ByteBuffer.wrap(file.readBytes())
    }

    /** An engine that gives the first class the same score for every picture. */
    private inner class Fixed(val onGpu: Boolean, val weights: File?) : Engine {
        var closed = false

        init {
            weights?.writeText("weights")
        }

        override fun run(input: Values, outputs: List<Values>) {
            val bytes = (outputs[0] as Values.Bytes).array
            bytes.fill(0)
            bytes[0] = (if (works(onGpu)) SCORE else 0).toByte()
        }

        override fun close() {
            closed = true
        }
    }

    private val thread = ModelThread(
        assets,
        Place(File(folder, "models"), File(folder, "weights"), File(folder, "verdicts"), "1", "36", "2.3.0", "x86_64"),
        engine = { _, onGpu, weights, _ -> Fixed(onGpu, weights).also { made += it } },
        show = { state = state.after(it, limit = null) },
    )

    @AfterTest
    fun clean() {
        thread.close()
        folder.deleteRecursively()
    }

    private fun loaded(variant: String? = "int8", gpu: Boolean = false): UiState {
        thread.load(variant, gpu)
        return classified()
    }

    private fun classified(): UiState {
        val done = CountDownLatch(1)
        thread.classify(Source.CAMERA, Frame().show(ByteBuffer.allocate(40 * 30 * 4), 40, 30)) { done.countDown() }
        assertTrue(done.await(60, TimeUnit.SECONDS))
        return state
    }

    @Test
    fun `a picture is answered on the CPU`() {
        val state = loaded()
        assertNull(state.message)
        assertFalse(state.isLoading || state.onGpu)
        assertEquals(SCORE / 256f, state.answers.first().probability)
        assertEquals(3, state.answers.size)
        assertNotNull(state.milliseconds)
        assertEquals(1, File(folder, "weights").listFiles().orEmpty().count { it.name.endsWith(".xnnpack") })
    }

    @Test
    fun `the GPU is taken after its self-test`() {
        val state = loaded(gpu = true)
        assertTrue(state.onGpu)
        assertNull(state.refused)
        assertEquals(listOf(true), made.map { it.onGpu })
        assertNull(made[0].weights)
    }

    @Test
    fun `a GPU of wrong answers is not taken, and why is said`() {
        works = { onGpu -> !onGpu }
        val state = loaded(gpu = true)
        assertFalse(state.onGpu)
        assertFalse(assertNotNull(state.refused).crashed)
        assertEquals(listOf(true, false), made.map { it.onGpu })
        assertTrue(made[0].closed)
        loaded(gpu = true)
        assertEquals(3, made.size, "it is not tried again")
    }

    @Test
    fun `wrong answers on the CPU are said`() {
        works = { false }
        assertEquals(Problem.DIFFERENT_ANSWERS, loaded().message?.problem)
    }

    @Test
    fun `the model before is closed`() {
        loaded()
        loaded()
        assertEquals(listOf(true, false), made.map { it.closed })
    }

    @Test
    fun `an unknown variant is that of the export`() {
        assertEquals("int8", loaded("int4").variant)
    }

    @Test
    fun `what is wrong with the model is shown`() {
        val whole = content.toMap()
        val name = content.keys.single { it.endsWith(".tflite") }
        val wrong = mapOf<String, (ByteArray) -> ByteArray?>(
            name to { it.copyOf(it.size / 2) },
            "sample.json" to { "{}".toByteArray() },
            "export.json" to { "".toByteArray() },
        )
        for ((file, change) in wrong) {
            content.putAll(whole)
            content[file] = change(whole.getValue(file))!!
            assertEquals(Problem.MODEL, loaded().message?.problem, file)
        }
        content.putAll(whole)
        content.remove(name)
        assertEquals(Problem.RUNTIME, loaded().message?.problem)
        content.putAll(whole)
        assertNull(loaded().message)
    }

    @Test
    fun `a runtime that fails is shown, and a picture is given back`() {
        loaded()
        works = { throw IllegalStateException("no memory") }
        assertEquals(Problem.RUNTIME, classified().message?.problem)
    }

    private companion object {
        const val SIDE = 32
        const val SCORE = 200 // of 256
    }
}
