package com.example.classifier.logic

import com.example.classifier.logic.Verdicts.Key
import com.example.classifier.logic.Verdicts.Outcome
import com.example.classifier.logic.Verdicts.Verdict

/**
 * Take the GPU where it gives the answers of Python, and the CPU elsewhere.
 *
 * @property create makes a classifier on the GPU or the CPU; it throws if it cannot
 * @property failure runs the test pictures, and returns why a classifier cannot be trusted
 */
class Accelerators<C : AutoCloseable>(
    private val verdicts: Verdicts,
    private val create: (onGpu: Boolean) -> C,
    private val failure: (C, onGpu: Boolean) -> String?,
) {
    /**
     * A classifier that has run.
     *
     * @property refused why it is not on the GPU, if that was wanted
     * @property doubt why the answers on the CPU are not Python's
     */
    class Choice<C>(val classifier: C, val onGpu: Boolean, val refused: Verdict?, val doubt: String?)

    /** Return a classifier for the model of a key. */
    fun choose(key: Key, gpuWanted: Boolean): Choice<C> {
        var refused = if (gpuWanted) verdicts.of(key)?.takeIf { it.outcome != Outcome.TRUSTED } else null
        if (gpuWanted && refused == null) {
            val tried = verdicts.trying(key) { caught { create(true) }.mapCatching { tested(it, true) } }
            tried.onSuccess {
                verdicts.put(key, Verdict(Outcome.TRUSTED))
                return Choice(it, onGpu = true, refused = null, doubt = null)
            }
            refused = refuse(key, tried.exceptionOrNull()?.message ?: "it failed")
        }
        val classifier = create(false)
        val doubt = try {
            failure(classifier, false)
        } catch (error: Throwable) {
            classifier.close()
            throw error
        }
        return Choice(classifier, onGpu = false, refused, doubt)
    }

    /** Remember that the GPU cannot be used. */
    fun refuse(key: Key, reason: String): Verdict = Verdict(Outcome.FAILED, reason).also { verdicts.put(key, it) }

    /** Return a classifier that gives the right answers. */
    private fun tested(classifier: C, onGpu: Boolean): C {
        val wrong = caught { failure(classifier, onGpu) }.getOrElse { it.message ?: "$it" } ?: return classifier
        classifier.close()
        throw IllegalStateException(wrong)
    }

    /** Like `runCatching`, but a library that is missing is the only error that is caught. */
    private fun <T> caught(act: () -> T): Result<T> = try {
        Result.success(act())
    } catch (error: Exception) {
        Result.failure(error)
    } catch (error: LinkageError) {
        Result.failure(error)
    }
}
