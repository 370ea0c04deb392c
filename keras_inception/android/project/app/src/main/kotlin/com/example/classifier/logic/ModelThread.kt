package com.example.classifier.logic

import com.example.classifier.UiState.Note
import com.example.classifier.UiState.Problem
import com.example.classifier.UiState.Refusal
import com.example.classifier.UiState.Source
import com.example.classifier.logic.Verdicts.Key
import com.example.classifier.logic.Verdicts.Outcome
import java.io.File
import java.io.InputStream
import java.nio.ByteBuffer
import java.util.concurrent.Executors
import kerasinception.Classifier
import kerasinception.Engine
import kerasinception.Frame
import kerasinception.SelfTest
import kerasinception.SelfTest.Tolerance
import kerasinception.TfliteError
import kerasinception.TfliteFile

/** What the app has been made with. */
interface Assets {
    /** Open a file, from its beginning. */
    fun open(name: String): InputStream

    /** Return the RGB pixels of an image. */
    fun pixels(name: String): ByteArray

    /** Return the content of a file, mapped and not copied. */
    fun map(file: File): ByteBuffer
}

/**
 * Where the app keeps files, and what their content holds for.
 *
 * @property models folder of the models
 * @property weights folder of XNNPACK's weights
 * @property verdicts folder of what is known of the GPU
 */
class Place(
    val models: File,
    val weights: File,
    val verdicts: File,
    val app: String,
    val system: String,
    val runtime: String,
    val abi: String,
)

/**
 * The one thread that owns the model and its buffers.
 *
 * @param engine makes an engine of a model: the file, whether on the GPU, the file of XNNPACK's weights, and whether half
 *   precision is allowed
 * @param show takes events, on this thread
 */
class ModelThread(
    private val assets: Assets,
    private val place: Place,
    private val engine: (File, Boolean, File?, Boolean) -> Engine,
    private val show: (Event) -> Unit,
) : AutoCloseable {
    private val thread = Executors.newSingleThreadExecutor { Thread(it, "model") }
    private val median = Median()
    private var classifier: Classifier? = null

    /** Load a variant, and show what became of it. The one before is closed. */
    fun load(variant: String?, gpuWanted: Boolean) = thread.execute {
        release()
        try {
            val export = Export.parse(assets.open(EXPORT).use { it.readBytes().toString(Charsets.UTF_8) })
            val chosen = variant?.takeIf { it in export.variants } ?: export.default
            show(Event.Loading(export.name, chosen, export.variants.keys.toList()))
            val choice = choose(export, chosen, gpuWanted)
            classifier = choice.classifier
            show(Event.Loaded(choice.onGpu, choice.refused?.let { Refusal(it.outcome == Outcome.CRASHED, it.reason) }))
            choice.doubt?.let { show(Event.Failed(Problem.DIFFERENT_ANSWERS, it)) }
        } catch (error: TfliteError) {
            show(Event.Failed(Problem.MODEL, error.message.orEmpty()))
        } catch (error: Exception) {
            show(Event.Failed(Problem.RUNTIME, error.message ?: "$error"))
        } catch (error: LinkageError) {
            show(Event.Failed(Problem.RUNTIME, error.message ?: "$error"))
        }
    }

    /**
     * Classify a picture, and show the answers.
     *
     * @param done is called once its memory is not read any more, on this thread, also if there is no model
     */
    fun classify(source: Source, frame: Frame, note: Note? = null, done: () -> Unit = {}) = thread.execute {
        try {
            classifier?.classify(frame)?.let { result ->
                val time = median.add(result.preparation + result.inference)
                show(Event.Answered(source, result.top(ANSWERS), time / 1e6, note))
            }
        } catch (error: Exception) {
            show(Event.Failed(Problem.RUNTIME, error.message ?: "$error"))
        } finally {
            done()
        }
    }

    override fun close() {
        thread.execute(::release)
        thread.shutdown()
    }

    private fun release() {
        classifier?.close()
        classifier = null
        median.clear()
    }

    private fun choose(export: Export, variant: String, gpuWanted: Boolean): Accelerators.Choice<Classifier> {
        val row = export.variants.getValue(variant)
        val models = ModelFiles(place.models)
        val installed = models.install(variant, export.variants.keys) { assets.open(row.file) }
        val file = TfliteFile.read(assets.map(installed.file))
        val test = SelfTest.parse(assets.open(SAMPLES).use { it.readBytes().toString(Charsets.UTF_8) }, variant, assets::pixels)
        val cache = WeightsCache(place.weights, place.runtime, place.abi)
        val accelerators = Accelerators(
            Verdicts(place.verdicts),
            create = { onGpu ->
                val weights = if (onGpu) null else cache.prepare(installed.sha256, models.models())
                Classifier(file, engine(installed.file, onGpu, weights, row.halfPrecision))
            },
            failure = { made, onGpu -> test.failure(made, tolerance(variant, file, onGpu)) },
        )
        val key = Key(installed.sha256, place.app, place.system)
        return accelerators.choose(key, gpuWanted).also { if (!it.onGpu) cache.seal(installed.sha256) }
    }

    private companion object {
        const val EXPORT = "export.json"
        const val SAMPLES = "sample.json"
        const val ANSWERS = 5

        /** Return how far the answers may be from Python's. */
        fun tolerance(variant: String, file: TfliteFile, onGpu: Boolean) = when {
            file.outputs[file.scores].type != TfliteFile.Type.FLOAT32 -> Tolerance.EIGHT_BITS
            onGpu || file.halfPrecision || variant == "dynamic" -> Tolerance.ROUNDED
            else -> Tolerance.FLOAT32
        }
    }
}
