package com.example.classifier.logic

import com.example.classifier.UiState
import com.example.classifier.UiState.Problem
import com.example.classifier.UiState.Refusal
import com.example.classifier.UiState.Source
import kerasinception.Answer
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertNull
import kotlin.test.assertTrue

class ReducerTest {
    private val answers = listOf(Answer("rose", 0.6f), Answer("tulip", 0.3f))

    private fun UiState.then(vararg events: Event, limit: Float? = null) = events.fold(this) { state, event -> state.after(event, limit) }

    private fun answered(source: Source = Source.CAMERA) = Event.Answered(source, answers, 12.5, null)

    private val loaded = UiState().then(
        Event.Loading("Flowers", "int8", listOf("int8", "float32")),
        Event.Loaded(onGpu = false, Refusal(crashed = true, "")),
    )

    @Test
    fun `a picture is answered`() {
        val state = loaded.then(answered())
        assertEquals(answers, state.answers)
        assertEquals(12.5, state.milliseconds)
        assertFalse(state.isLoading || state.notSure)
    }

    @Test
    fun `below the limit it is not sure`() {
        assertTrue(loaded.then(answered(), limit = 0.61f).notSure)
        assertFalse(loaded.then(answered(), limit = 0.6f).notSure)
    }

    @Test
    fun `what was frozen or is of another source stays`() {
        val frozen = loaded.then(answered(), Event.Frozen(true))
        val other = Event.Answered(Source.CAMERA, listOf(Answer("fern", 1f)), 1.0, null)
        assertEquals(answers, frozen.then(other).answers)
        assertEquals("fern", frozen.then(Event.Frozen(false), other).answers.first().label)
        assertEquals(answers, loaded.then(Event.Shown(Source.PICTURE), answered(Source.PICTURE), other).answers)
    }

    @Test
    fun `problems of the camera go with the camera`() {
        for (problem in Problem.values().filter { it.isOfCamera }) {
            val failed = loaded.then(Event.Failed(problem, "why"))
            assertEquals(problem, failed.message?.problem)
            assertNull(failed.then(Event.CameraWorks).message)
            assertNull(failed.then(answered()).message)
            assertNull(failed.then(Event.Shown(Source.PICTURE)).message)
            assertNull(loaded.then(Event.Shown(Source.PICTURE), Event.Failed(problem)).message)
        }
    }

    @Test
    fun `a picture that cannot be read leaves no answers of another`() {
        for (problem in Problem.values().filter { it.isOfPicture }) {
            val failed = loaded.then(Event.Shown(Source.PICTURE), answered(Source.PICTURE), Event.Failed(problem))
            assertTrue(failed.answers.isEmpty())
            assertEquals(problem, failed.message?.problem)
        }
    }

    @Test
    fun `a model that cannot be used is told and not waited for`() {
        for (problem in listOf(Problem.MODEL, Problem.RUNTIME)) {
            val failed = UiState().then(Event.Loading("Flowers", "int8", listOf("int8")), Event.Failed(problem, "it is cut"))
            assertFalse(failed.isLoading)
            assertEquals("it is cut", failed.then(Event.CameraWorks).message?.detail)
        }
    }

    @Test
    fun `different answers are told with every picture`() {
        val state = loaded.then(Event.Failed(Problem.DIFFERENT_ANSWERS, "why"), answered())
        assertEquals(Problem.DIFFERENT_ANSWERS, state.message?.problem)
        assertEquals(answers, state.answers)
    }

    @Test
    fun `another variant starts anew`() {
        val state = loaded.then(answered(), Event.Loading("Flowers", "float32", listOf("int8", "float32")))
        assertTrue(state.isLoading && state.answers.isEmpty() && state.refused == null)
        assertEquals("float32", state.variant)
    }
}
