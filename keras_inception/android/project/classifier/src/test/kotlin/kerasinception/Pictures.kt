package kerasinception

import java.awt.image.BufferedImage
import java.io.ByteArrayInputStream
import java.io.File
import java.nio.ByteBuffer
import javax.imageio.ImageIO

/** Decode an image file, upright, as far as Java can. */
fun decoded(file: File): Frame {
    val bytes = file.readBytes()
    val image = ImageIO.read(ByteArrayInputStream(bytes)) ?: throw TfliteError("${file.path}: not a readable image")
    val rgba = ByteBuffer.allocate(image.width * image.height * 4)
    for (y in 0 until image.height) for (x in 0 until image.width) rgba.putInt(rgba(image, x, y))
    return Frame().show(rgba, image.width, image.height, orientation = Exif.orientation(bytes))
}

/** Return a pixel as stored: `getRGB` would make gray brighter, which it takes for linear light. */
private fun rgba(image: BufferedImage, x: Int, y: Int): Int {
    if (image.type == BufferedImage.TYPE_BYTE_GRAY) {
        val gray = image.raster.getSample(x, y, 0)
        return (gray * 0x010101 shl 8) or 0xff
    }
    return Integer.rotateLeft(image.getRGB(x, y), 8)
}
