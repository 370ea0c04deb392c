package kerasinception

import java.nio.ByteBuffer

/**
 * What a `.tflite` file of keras-inception says about itself.
 *
 * @property input one picture, (1, height, width, 3 or 1)
 * @property outputs one or two: the scores, and for some files a map
 * @property scores which of [outputs] has the scores, (1, classes)
 * @property labels names of the classes
 * @property halfPrecision whether processors may compute the file in half precision
 */
class TfliteFile internal constructor(
    val input: Tensor,
    val outputs: List<Tensor>,
    val scores: Int,
    val labels: List<String>,
    val preprocessing: Preprocessing,
    val halfPrecision: Boolean,
) {
    enum class Type(internal val number: Int, val bytes: Int) { FLOAT32(0, 4), UINT8(3, 1), INT8(9, 1) }

    /**
     * An input or output.
     *
     * @property scale of 8-bit values: (value - [zeroPoint]) × scale is the real one; 0 for floats
     */
    data class Tensor(val type: Type, val shape: List<Int>, val scale: Float, val zeroPoint: Int) {
        val size: Int get() = shape.fold(1) { size, side -> size * side }
    }

    companion object {
        private const val LABELS = "labels.txt"
        private const val PREPROCESSING = "preprocessing.json"
        private const val HALF_PRECISION = "reduced_precision_support"
        private const val LARGEST_SIDE = 1 shl 13
        private const val MOST_VALUES = 1 shl 24 // of a tensor
        private val CONTROL = Regex("[\\x00-\\x08\\x0a-\\x1f\\x7f-\\x9f]") // all but the tab

        /**
         * Read a file, from a buffer that may be mapped: only its description is copied.
         *
         * @throws TfliteError if it is not a picture classifier of keras-inception, or is damaged
         */
        fun read(file: ByteBuffer): TfliteFile = try {
            described(file.duplicate().apply { rewind() })
        } catch (error: IndexOutOfBoundsException) {
            throw TfliteError("The model is damaged.", error)
        }

        private fun described(file: ByteBuffer): TfliteFile {
            val data = Data(file)
            if (data.size < 8 || data.text(4, 4) != "TFL3") throw TfliteError("The file is not a TFLite model.")
            val model = Table.root(data)
            val graph = model.tables(2).firstOrNull() ?: throw TfliteError("The model has no operations.")
            val tensors = graph.tables(0)
            val inputs = graph.ints(1).map { tensor(tensors, it, "input") }
            val outputs = graph.ints(2).map { tensor(tensors, it, "output") }
            if (inputs.size != 1) throw otherTask("it has ${inputs.size} inputs, not one picture")
            val (input) = inputs
            if (input.shape.size != 4 || input.shape[0] != 1 || input.shape[3] !in listOf(1, 3)) {
                throw otherTask("its input is ${input.shape}, not [1, height, width, 3]")
            }
            if (input.shape.max() > LARGEST_SIDE) throw otherTask("its input is ${input.shape}, larger than any picture's")
            val scores = outputs.indices.filter { place -> outputs[place].shape.dropLast(1).all { it == 1 } }
            if (outputs.size !in 1..2 || scores.size != 1 || outputs[scores[0]].shape.size < 2) {
                throw otherTask("its outputs are ${outputs.map { it.shape }}, not [1, classes]")
            }
            val archive = Archive(file)
            val labels = labels(archive)
            val classes = outputs[scores[0]].size
            if (labels.size != classes && !(classes == 1 && labels.size == 2)) {
                throw TfliteError("The model has $classes scores but ${labels.size} labels.")
            }
            val preprocessing = archive.text(PREPROCESSING)?.let(Preprocessing::parse)
                ?: throw TfliteError("The model has no preprocessing.json: export it with keras-inception.")
            return TfliteFile(
                input,
                outputs,
                scores[0],
                labels,
                fitting(preprocessing, input),
                entry(model, HALF_PRECISION).startsWith("fp16"),
            )
        }

        private fun tensor(tensors: List<Table>, number: Int, what: String): Tensor {
            val table = tensors.getOrNull(number) ?: throw TfliteError("The model is damaged: it has no tensor $number.")
            val type = Type.values().find { it.number == table.byte(1) }
                ?: throw otherTask("its $what is neither float32 nor 8 bits")
            val shape = table.ints(0)
            if (shape.any { it < 1 } || shape.fold(1L) { size, side -> minOf(size * side, Int.MAX_VALUE.toLong()) } > MOST_VALUES) {
                throw otherTask("its $what is $shape")
            }
            val quantization = table.table(4)
            val scale = quantization?.floats(2)?.firstOrNull() ?: 0f
            if (type != Type.FLOAT32 && !(scale.isFinite() && scale > 0)) {
                throw TfliteError("The model is damaged: the scale of its $what is $scale.")
            }
            return Tensor(type, shape, scale, quantization?.longs(3)?.firstOrNull()?.toInt() ?: 0)
        }

        private fun labels(archive: Archive): List<String> {
            val text = archive.text(LABELS) ?: throw TfliteError("The model has no labels: export it with keras-inception.")
            val labels = text.removePrefix("\uFEFF").replace("\r\n", "\n").replace('\r', '\n').split("\n")
                .map { it.trimEnd() }
                .dropLastWhile { it.isEmpty() }
            if (labels.isEmpty() || labels.any { it.isEmpty() || CONTROL.containsMatchIn(it) }) {
                throw TfliteError("The labels of the model are damaged.")
            }
            return labels
        }

        /** Return the preprocessing at the input's own size. */
        private fun fitting(preprocessing: Preprocessing, input: Tensor): Preprocessing {
            val gray = input.shape[3] == 1
            val channels = when {
                gray -> Preprocessing.Channels.GRAY
                preprocessing.channels == Preprocessing.Channels.GRAY -> Preprocessing.Channels.RGB
                else -> preprocessing.channels
            }
            return preprocessing.copy(height = input.shape[1], width = input.shape[2], channels = channels)
        }

        /** Return the text of a named entry of the model; empty if it has none. */
        private fun entry(model: Table, name: String): String {
            val number = model.tables(6).find { it.string(0) == name }?.int(1) ?: return ""
            return model.tables(4).getOrNull(number)?.bytes(0)?.toString(Charsets.UTF_8) ?: ""
        }

        private fun otherTask(reason: String) = TfliteError("The model does not classify pictures: $reason.")
    }
}
