package kerasinception

/**
 * A runtime with a model in it. Its buffers are made once.
 *
 * An instance is used by one thread at a time, and closed by the `Classifier` that it was given to.
 */
interface Engine : AutoCloseable {
    /**
     * Run the network to completion, and read its outputs.
     *
     * @param input values of the input's type
     * @param outputs arrays to fill, in the order of the file's outputs
     * @throws Exception if the runtime fails
     */
    fun run(input: Values, outputs: List<Values>)
}
