package kerasinception

/**
 * How a picture becomes a network's input: the fields of `preprocessing.json`.
 *
 * Python's `keras_inception.Preprocessing` documents them. `Fitter` and `InputTensor` do what they say, byte for byte as
 * Python does.
 *
 * @property mean of each channel in pixel values, in the order of [channels]
 * @property std standard deviation of each channel, in the same units and order
 * @property crop fraction of the picture to keep
 */
data class Preprocessing(
    val height: Int,
    val width: Int,
    val mean: List<Float>,
    val std: List<Float>,
    val channels: Channels,
    val crop: Double,
    val interpolation: Interpolation,
    val fitting: Fitting,
    val antialias: Boolean,
) {
    enum class Channels { RGB, BGR, GRAY }

    enum class Interpolation { NEAREST, BILINEAR, BICUBIC, LANCZOS }

    enum class Fitting { BOX, SHORTER, STRETCH, CENTRAL_CROP, PAD }

    init {
        require(height in 1..LARGEST_SIDE && width in 1..LARGEST_SIDE) {
            "`size` must be from 1 to $LARGEST_SIDE. Received: $height, $width"
        }
        require(mean.all { it.isFinite() }) { "`mean` must be finite. Received: $mean" }
        require(std.all { it.isFinite() && it > 0 }) { "`std` must be positive. Received: $std" }
        val least = if (fitting == Fitting.SHORTER || fitting == Fitting.STRETCH) 0.1 else Double.MIN_VALUE
        require(crop in least..1.0) { "`crop` must be from $least to 1. Received: $crop" }
        require(fitting != Fitting.PAD || crop == 1.0) { "`crop` must be 1 for pad. Received: $crop" }
        require(antialias || interpolation in WITHOUT_ANTIALIAS) { "`antialias` must be true for $interpolation" }
        require(fitting != Fitting.CENTRAL_CROP || (interpolation == Interpolation.BILINEAR && !antialias)) {
            "`fitting` central_crop requires bilinear interpolation and no antialias"
        }
    }

    /** Whether the network takes pixels as they are. */
    val isPlain: Boolean get() = channels != Channels.BGR && mean.all { it == 0f } && std.all { it == 1f }

    companion object {
        private const val LARGEST_SIDE = 1 shl 13
        private val WITHOUT_ANTIALIAS = listOf(Interpolation.NEAREST, Interpolation.BILINEAR)
        private val FIELDS =
            setOf("size", "mean", "std", "channels", "crop", "interpolation", "fitting", "antialias")

        /**
         * Read the content of `preprocessing.json`. Missing fields have the values that they have in Python.
         *
         * @throws TfliteError if it is not what Python writes
         */
        fun parse(text: String): Preprocessing = try {
            val fields = Json.parse(text) as? Map<*, *> ?: throw IllegalArgumentException("not an object")
            require(FIELDS.containsAll(fields.keys)) { "unknown fields: ${fields.keys - FIELDS}" }
            val (height, width) = numbers(fields, "size", 2, 224.0).map { side ->
                side.toInt().also { require(it.toDouble() == side) { "`size` must be whole. Received: $side" } }
            }
            Preprocessing(
                height,
                width,
                mean = numbers(fields, "mean", 3, 127.5).map { it.toFloat() },
                std = numbers(fields, "std", 3, 127.5).map { it.toFloat() },
                channels = named(fields, "channels", Channels.RGB),
                crop = field(fields, "crop", 1.0),
                interpolation = named(fields, "interpolation", Interpolation.BILINEAR),
                fitting = if (fields["fitting"] == "slim") Fitting.CENTRAL_CROP else named(fields, "fitting", Fitting.BOX),
                antialias = field(fields, "antialias", true),
            )
        } catch (error: IllegalArgumentException) {
            throw TfliteError("The model's preprocessing.json is unusable: ${error.message}.", error)
        }

        private fun numbers(fields: Map<*, *>, name: String, count: Int, default: Double): List<Double> {
            val given = field<Any>(fields, name, default)
            val values = (given as? List<*> ?: listOf(given)).filterIsInstance<Double>()
            val each = if (values.size == 1) List(count) { values[0] } else values
            require(each.size == count) { "`$name` must be $count numbers. Received: $given" }
            return each
        }

        private inline fun <reified E : Enum<E>> named(fields: Map<*, *>, name: String, default: E): E {
            val given = field(fields, name, default.name)
            return enumValues<E>().find { it.name == given.uppercase() }
                ?: throw IllegalArgumentException("`$name` is unknown. Received: $given")
        }

        private inline fun <reified T : Any> field(fields: Map<*, *>, name: String, default: T): T =
            if (name !in fields) default
            else fields[name] as? T ?: throw IllegalArgumentException("`$name` is of another type. Received: ${fields[name]}")
    }
}
