package com.example.classifier.logic

import com.example.classifier.UiState
import com.example.classifier.UiState.Message
import com.example.classifier.UiState.Note
import com.example.classifier.UiState.Problem
import com.example.classifier.UiState.Refusal
import com.example.classifier.UiState.Source
import kerasinception.Answer

/** What happens to the state of the screen. */
sealed class Event {
    class Loading(val name: String, val variant: String, val variants: List<String>) : Event()

    class Loaded(val onGpu: Boolean, val refused: Refusal?) : Event()

    class Answered(val source: Source, val answers: List<Answer>, val milliseconds: Double, val notes: Note?) : Event()

    class Failed(val problem: Problem, val detail: String = "") : Event()

    /** The camera gives pictures again. */
    object CameraWorks : Event()

    class Shown(val source: Source) : Event()

    class Frozen(val frozen: Boolean) : Event()
}

/**
 * Return the state after an event.
 *
 * @param limit probability of the first class below which the app is not sure
 */
fun UiState.after(event: Event, limit: Float?): UiState = when (event) {
    is Event.Loading -> UiState(event.name, source, variant = event.variant, variants = event.variants)
    is Event.Loaded -> copy(isLoading = false, onGpu = event.onGpu, refused = event.refused)
    is Event.Answered ->
        // The camera's last picture may come after another source was chosen.
        if (event.source != source || (frozen && source == Source.CAMERA)) this
        else copy(
            answers = event.answers,
            notSure = limit != null && event.answers.first().probability < limit,
            milliseconds = event.milliseconds,
            message = message?.takeIf { it.problem == Problem.DIFFERENT_ANSWERS },
            note = event.notes,
        )
    is Event.Failed ->
        if (event.problem.isOfCamera && source != Source.CAMERA) this
        else copy(
            answers = if (event.problem.isOfPicture) emptyList() else answers,
            isLoading = isLoading && event.problem !in listOf(Problem.MODEL, Problem.RUNTIME),
            message = Message(event.problem, event.detail),
        )
    is Event.CameraWorks -> copy(message = message?.takeUnless { it.problem.isOfCamera })
    is Event.Shown -> copy(
        source = event.source,
        answers = emptyList(),
        notSure = false,
        frozen = false,
        message = message?.takeUnless { it.problem.isOfCamera || it.problem.isOfPicture },
        note = null,
    )
    is Event.Frozen -> copy(frozen = event.frozen)
}
