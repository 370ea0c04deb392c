package com.example.classifier.ui

import com.example.classifier.UiState.Problem

/**
 * The texts of the screen, by the names of the string resources.
 *
 * The screen takes them as a parameter, so that it can be tested without Android.
 */
class Texts(private val string: (name: String) -> String) {
    val loading get() = string("loading")
    val camera get() = string("camera")
    val choosePicture get() = string("choose_picture")
    val freeze get() = string("freeze")
    val goOn get() = string("go_on")
    val share get() = string("share")
    val tryAgain get() = string("try_again")
    val allowCamera get() = string("allow_camera")
    val useGpu get() = string("use_gpu")
    val variant get() = string("variant")
    val notSure get() = string("not_sure")
    val onCpu get() = string("on_cpu")
    val onGpu get() = string("on_gpu")
    val gpuCrashed get() = string("gpu_crashed")
    val picture get() = string("picture")
    val reduced get() = string("reduced")

    fun milliseconds(number: String) = string("milliseconds").format(number)

    fun gpuFailed(reason: String) = string("gpu_failed").format(reason)

    fun answer(label: String, percent: String) = string("answer_spoken").format(label, percent)

    fun problem(problem: Problem) = string("problem_${problem.name.lowercase()}")
}
