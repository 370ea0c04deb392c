package com.example.classifier

import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import com.google.ai.edge.litert.CompiledModel.CpuOptions
import com.google.ai.edge.litert.CompiledModel.GpuOptions
import com.google.ai.edge.litert.CompiledModel.GpuOptions.Precision
import com.google.ai.edge.litert.CompiledModel.Options
import com.google.ai.edge.litert.TensorBuffer
import java.io.File
import kerasinception.Engine
import kerasinception.Values

/**
 * LiteRT with a model in it, on the CPU or the GPU alone: with both asked for, a GPU that fails is a CPU in silence.
 *
 * @param weights file in which XNNPACK keeps weights; null on a GPU
 * @param halfPrecision whether a GPU may compute in half precision; processors read it in the model
 */
class LiteRtEngine(model: File, onGpu: Boolean, weights: File?, halfPrecision: Boolean) : Engine {
    private val compiled = CompiledModel.create(model.path, options(onGpu, weights, halfPrecision))
    private val closing = mutableListOf<AutoCloseable>(compiled)
    private val inputs: List<TensorBuffer>
    private val outputs: List<TensorBuffer>

    init {
        try {
            inputs = compiled.createInputBuffers().onEach { closing += it }
            outputs = compiled.createOutputBuffers().onEach { closing += it }
        } catch (error: Throwable) {
            close()
            throw error
        }
    }

    override fun run(input: Values, outputs: List<Values>) {
        when (input) {
            is Values.Bytes -> inputs[0].writeInt8(input.array)
            is Values.Floats -> inputs[0].writeFloat(input.array)
        }
        compiled.run(inputs, this.outputs)
        outputs.forEachIndexed { place, values ->
            when (values) {
                is Values.Bytes -> this.outputs[place].readInt8().copyInto(values.array)
                is Values.Floats -> this.outputs[place].readFloat().copyInto(values.array)
            }
        }
    }

    override fun close() {
        closing.asReversed().forEach { it.close() }
        closing.clear()
    }

    private companion object {
        fun options(onGpu: Boolean, weights: File?, halfPrecision: Boolean) =
            Options(if (onGpu) Accelerator.GPU else Accelerator.CPU).apply {
                if (onGpu) {
                    gpuOptions = GpuOptions(precision = if (halfPrecision) Precision.DEFAULT else Precision.FP32)
                } else {
                    cpuOptions = CpuOptions(xnnPackWeightCachePath = weights?.path)
                }
            }
    }
}
