package com.example.classifier

import kerasinception.Answer

/**
 * What the screen shows.
 *
 * @property answers the most probable classes, the most probable first
 * @property notSure whether the first class is less probable than the export demands
 * @property variant in use, of [variants]
 * @property refused why the GPU is not used though it was asked for; null if there is nothing to say
 * @property milliseconds median of a picture; null before the first one
 * @property note what is to be known about the picture
 */
data class UiState(
    val name: String = "",
    val source: Source = Source.CAMERA,
    val answers: List<Answer> = emptyList(),
    val notSure: Boolean = false,
    val variant: String = "",
    val variants: List<String> = emptyList(),
    val isLoading: Boolean = true,
    val onGpu: Boolean = false,
    val refused: Refusal? = null,
    val milliseconds: Double? = null,
    val frozen: Boolean = false,
    val message: Message? = null,
    val note: Note? = null,
) {
    enum class Source { CAMERA, PICTURE }

    enum class Note { REDUCED }

    /**
     * Why the GPU is not used.
     *
     * @property crashed whether it ended the app; else it gave an error or wrong answers
     * @property reason in English, of the runtime
     */
    data class Refusal(val crashed: Boolean, val reason: String)

    /**
     * What is wrong.
     *
     * @property detail in English, of the system; may be empty
     */
    data class Message(val problem: Problem, val detail: String = "")

    enum class Problem {
        MODEL,
        RUNTIME,
        DIFFERENT_ANSWERS,
        NO_PERMISSION,
        NO_CAMERA,
        CAMERA_IN_USE,
        CAMERA_DISABLED,
        CAMERA_FAILED,
        NO_FRAME,
        PICTURE_EMPTY,
        PICTURE_UNREADABLE,
        PICTURE_TOO_LARGE,
        ;

        val isOfCamera get() = this in NO_PERMISSION..NO_FRAME
        val isOfPicture get() = this in PICTURE_EMPTY..PICTURE_TOO_LARGE
    }
}
