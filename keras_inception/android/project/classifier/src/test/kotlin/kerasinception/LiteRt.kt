package kerasinception

import com.sun.jna.Library
import com.sun.jna.Memory
import com.sun.jna.Native
import com.sun.jna.NativeLong
import com.sun.jna.Pointer
import com.sun.jna.ptr.PointerByReference
import java.io.File
import java.nio.ByteBuffer
import kerasinception.TfliteFile.Tensor
import kerasinception.TfliteFile.Type

/** The functions of LiteRT's C library that the engine calls. */
private interface LiteRt : Library {
    fun LiteRtCreateEnvironment(count: Int, options: Pointer?, environment: PointerByReference): Int
    fun LiteRtDestroyEnvironment(environment: Pointer)
    fun LiteRtCreateModelFromFile(environment: Pointer, path: String, model: PointerByReference): Int
    fun LiteRtDestroyModel(model: Pointer)
    fun LiteRtCreateOptions(options: PointerByReference): Int
    fun LiteRtDestroyOptions(options: Pointer)
    fun LiteRtSetOptionsHardwareAccelerators(options: Pointer, set: Int): Int
    fun LiteRtCreateCompiledModel(environment: Pointer, model: Pointer, options: Pointer, compiled: PointerByReference): Int
    fun LiteRtDestroyCompiledModel(compiled: Pointer)
    fun LiteRtGetCompiledModelInputBufferRequirements(c: Pointer, s: NativeLong, i: NativeLong, r: PointerByReference): Int
    fun LiteRtGetCompiledModelOutputBufferRequirements(c: Pointer, s: NativeLong, i: NativeLong, r: PointerByReference): Int
    fun LiteRtCreateManagedTensorBufferFromRequirements(e: Pointer, type: Pointer, r: Pointer, b: PointerByReference): Int
    fun LiteRtDestroyTensorBuffer(buffer: Pointer)
    fun LiteRtLockTensorBuffer(buffer: Pointer, memory: PointerByReference, mode: Int): Int
    fun LiteRtUnlockTensorBuffer(buffer: Pointer): Int
    fun LiteRtRunCompiledModel(c: Pointer, s: NativeLong, n: NativeLong, i: Array<Pointer>, m: NativeLong, o: Array<Pointer>): Int
}

/**
 * LiteRT on this machine's CPU, from the library of its Python package, which the environment variable LITERT names.
 *
 * It is the runtime that the app uses, without Android's layer above it.
 */
class LiteRtEngine(path: File, file: TfliteFile) : Engine {
    private val closing = ArrayDeque<() -> Unit>()
    private val environment = made(library::LiteRtDestroyEnvironment) { library.LiteRtCreateEnvironment(0, null, it) }
    private val model = made(library::LiteRtDestroyModel) {
        library.LiteRtCreateModelFromFile(environment, path.path, it)
    }
    private val options = made(library::LiteRtDestroyOptions) { library.LiteRtCreateOptions(it) }
        .also { check(library.LiteRtSetOptionsHardwareAccelerators(it, CPU)) }
    private val compiled = made(library::LiteRtDestroyCompiledModel) {
        library.LiteRtCreateCompiledModel(environment, model, options, it)
    }
    private val input = buffer(file.input) { library.LiteRtGetCompiledModelInputBufferRequirements(compiled, ZERO, ZERO, it) }
    private val outputs = file.outputs.mapIndexed { place, tensor ->
        buffer(tensor) {
            library.LiteRtGetCompiledModelOutputBufferRequirements(compiled, ZERO, NativeLong(place.toLong()), it)
        }
    }.toTypedArray()

    override fun run(input: Values, outputs: List<Values>) {
        locked(this.input, WRITE) { memory ->
            when (input) {
                is Values.Bytes -> memory.write(0, input.array, 0, input.array.size)
                is Values.Floats -> memory.write(0, input.array, 0, input.array.size)
            }
        }
        val count = NativeLong(outputs.size.toLong())
        check(library.LiteRtRunCompiledModel(compiled, ZERO, NativeLong(1), arrayOf(this.input), count, this.outputs))
        outputs.forEachIndexed { place, values ->
            locked(this.outputs[place], READ) { memory ->
                when (values) {
                    is Values.Bytes -> memory.read(0, values.array, 0, values.array.size)
                    is Values.Floats -> memory.read(0, values.array, 0, values.array.size)
                }
            }
        }
    }

    override fun close() {
        while (closing.isNotEmpty()) closing.removeLast()()
    }

    private fun buffer(tensor: Tensor, requirements: (PointerByReference) -> Int): Pointer {
        val needed = made({}, requirements)
        return made(library::LiteRtDestroyTensorBuffer) {
            library.LiteRtCreateManagedTensorBufferFromRequirements(environment, described(tensor), needed, it)
        }
    }

    private fun described(tensor: Tensor) = Memory(TYPE_BYTES).apply {
        clear()
        setInt(0, TYPES.getValue(tensor.type))
        setInt(4, tensor.shape.size)
        tensor.shape.forEachIndexed { place, side -> setInt(8L + 4 * place, side) }
    }

    private fun made(destroy: (Pointer) -> Unit, create: (PointerByReference) -> Int): Pointer {
        val reference = PointerByReference()
        check(create(reference))
        return reference.value.also { closing.addLast { destroy(it) } }
    }

    private fun locked(buffer: Pointer, mode: Int, use: (Pointer) -> Unit) {
        val memory = PointerByReference()
        check(library.LiteRtLockTensorBuffer(buffer, memory, mode))
        try {
            use(memory.value)
        } finally {
            check(library.LiteRtUnlockTensorBuffer(buffer))
        }
    }

    private fun check(status: Int) = check(status == 0) { "LiteRT failed with status $status" }

    companion object {
        private const val CPU = 1
        private const val READ = 0
        private const val WRITE = 1
        private const val TYPE_BYTES = 72L
        private val ZERO = NativeLong(0)
        private val TYPES = mapOf(Type.FLOAT32 to 1, Type.UINT8 to 3, Type.INT8 to 9)
        private val library: LiteRt by lazy { Native.load(System.getenv("LITERT"), LiteRt::class.java) }

        /** Open a classifier of a file. */
        fun classifier(path: File): Classifier {
            val file = TfliteFile.read(ByteBuffer.wrap(path.readBytes()))
            return Classifier(file, LiteRtEngine(path, file))
        }
    }
}
