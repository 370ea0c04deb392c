package kerasinception

import kerasinception.TfliteFile.Tensor
import kerasinception.TfliteFile.Type

/** The values of an input or output: bytes for 8-bit tensors, floats for the others. */
sealed class Values {
    class Bytes(val array: ByteArray) : Values()

    class Floats(val array: FloatArray) : Values()

    companion object {
        /** Return zeros for a tensor. */
        fun of(tensor: Tensor): Values =
            if (tensor.type == Type.FLOAT32) Floats(FloatArray(tensor.size)) else Bytes(ByteArray(tensor.size))
    }
}
