package com.example.classifier.ui

import androidx.compose.foundation.Image
import androidx.compose.foundation.layout.PaddingValues
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.darkColorScheme
import androidx.compose.material3.lightColorScheme
import androidx.compose.runtime.Composable
import androidx.compose.runtime.CompositionLocalProvider
import androidx.compose.ui.ImageComposeScene
import androidx.compose.ui.graphics.Color
import androidx.compose.ui.graphics.painter.ColorPainter
import androidx.compose.ui.platform.LocalDensity
import androidx.compose.ui.test.ExperimentalTestApi
import androidx.compose.ui.test.assertIsDisplayed
import androidx.compose.ui.test.assertIsEnabled
import androidx.compose.ui.test.assertIsNotEnabled
import androidx.compose.ui.test.assertIsOn
import androidx.compose.ui.test.assertIsSelected
import androidx.compose.ui.test.hasText
import androidx.compose.ui.test.onNodeWithContentDescription
import androidx.compose.ui.test.onNodeWithText
import androidx.compose.ui.test.performClick
import androidx.compose.ui.test.performScrollTo
import androidx.compose.ui.test.runDesktopComposeUiTest
import androidx.compose.ui.unit.Density
import androidx.compose.ui.unit.dp
import com.example.classifier.UiState
import com.example.classifier.UiState.Message
import com.example.classifier.UiState.Note
import com.example.classifier.UiState.Problem
import com.example.classifier.UiState.Refusal
import com.example.classifier.UiState.Source
import java.io.File
import javax.xml.parsers.DocumentBuilderFactory
import kerasinception.Answer
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertTrue

/** Return the texts of a folder of resources, completed by those of English as Android does. */
fun texts(folder: String): Texts {
    val strings = strings("values") + strings(folder)
    return Texts { strings.getValue(it) }
}

fun strings(folder: String): Map<String, String> {
    val file = File(checkNotNull(System.getProperty("resources")), "$folder/strings.xml")
    val nodes = DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(file).getElementsByTagName("string")
    return (0 until nodes.length).map { nodes.item(it) }
        .associate { it.attributes.getNamedItem("name").nodeValue to it.textContent.replace("\\'", "'") }
}

class Recorded : Actions {
    val done = mutableListOf<String>()

    override fun chooseVariant(variant: String) { done += "variant $variant" }
    override fun useGpu(wanted: Boolean) { done += "gpu $wanted" }
    override fun showCamera() { done += "camera" }
    override fun choosePicture() { done += "picture" }
    override fun freeze(frozen: Boolean) { done += "freeze $frozen" }
    override fun share() { done += "share" }
    override fun allowCamera() { done += "allow" }
    override fun tryAgain() { done += "again" }
}

class ScreenTest {
    private val answers = listOf(
        Answer("musical instrument", 0.874f), Answer("vehicle", 0.07f), Answer("tool", 0.03f),
        Answer("food", 0.0156f), Answer("animal", 0.004f),
    )
    private val state = UiState(
        "Pictograms", Source.CAMERA, answers, variant = "int8", variants = listOf("int8", "float16", "dynamic", "float32"),
        isLoading = false, milliseconds = 4.2,
    )

    @Composable
    private fun Shown(state: UiState, actions: Actions = Recorded(), folder: String = "values", gpu: Boolean = false, dark: Boolean = false) =
        MaterialTheme(if (dark) darkColorScheme() else lightColorScheme()) {
            Screen(state, texts(folder), actions, gpu, PaddingValues(top = 24.dp, bottom = 16.dp)) { modifier ->
                Image(ColorPainter(Color(0xff5b7c99)), null, modifier)
            }
        }

    @OptIn(ExperimentalTestApi::class)
    @Test
    fun `answers are shown and spoken`() = runDesktopComposeUiTest(400, 900) {
        setContent { Shown(state) }
        onNodeWithContentDescription("musical instrument, 87 percent").assertIsDisplayed()
        onNodeWithContentDescription("animal, 0 percent").performScrollTo().assertIsDisplayed()
        onNodeWithText("int8 · CPU · 4.2 ms").performScrollTo().assertIsDisplayed()
        onNodeWithContentDescription("The picture").assertIsDisplayed()
        onNodeWithText("Not sure").assertDoesNotExist()
    }

    @OptIn(ExperimentalTestApi::class)
    @Test
    fun `everything can be done`() = runDesktopComposeUiTest(400, 900) {
        val actions = Recorded()
        setContent { Shown(state, actions, gpu = true) }
        for (text in listOf("Freeze", "Choose a picture", "Share", "float16", "Use the GPU")) {
            onNodeWithText(text).performScrollTo().performClick()
        }
        onNodeWithText("int8").performScrollTo().assertIsSelected()
        onNodeWithText("Use the GPU").assertIsOn()
        assertEquals(listOf("freeze true", "picture", "share", "variant float16", "gpu false"), actions.done)
    }

    @OptIn(ExperimentalTestApi::class)
    @Test
    fun `a chosen picture leads back to the camera`() = runDesktopComposeUiTest(400, 900) {
        val actions = Recorded()
        setContent { Shown(state.copy(source = Source.PICTURE, note = Note.REDUCED, notSure = true), actions) }
        onNodeWithText("Not sure").assertIsDisplayed()
        onNode(hasText("reduced", substring = true)).performScrollTo().assertIsDisplayed()
        onNodeWithText("Camera").performScrollTo().performClick()
        assertEquals(listOf("camera"), actions.done)
    }

    @OptIn(ExperimentalTestApi::class)
    @Test
    fun `before the first answer there is nothing to freeze or share`() = runDesktopComposeUiTest(400, 900) {
        setContent { Shown(UiState("Pictograms", variant = "int8", variants = listOf("int8"))) }
        onNodeWithText("Loading the model…").assertIsDisplayed()
        onNodeWithText("Freeze").assertIsNotEnabled()
        onNodeWithText("Share").assertIsNotEnabled()
        onNodeWithText("Choose a picture").assertIsEnabled()
        onNodeWithText("Model file").assertDoesNotExist()
    }

    @OptIn(ExperimentalTestApi::class)
    @Test
    fun `each problem is a sentence in both languages`() {
        for (problem in Problem.values()) for (folder in listOf("values", "values-de")) runDesktopComposeUiTest(400, 900) {
            setContent { Shown(state.copy(message = Message(problem, "E42")), folder = folder) }
            onNodeWithText(texts(folder).problem(problem)).assertIsDisplayed()
            onNodeWithText("E42").assertIsDisplayed()
        }
    }

    @OptIn(ExperimentalTestApi::class)
    @Test
    fun `what can be done about a problem is offered`() = runDesktopComposeUiTest(400, 900) {
        val actions = Recorded()
        setContent { Shown(state.copy(message = Message(Problem.NO_PERMISSION)), actions) }
        onNodeWithText("Allow the camera").performClick()
        assertEquals(listOf("allow"), actions.done)
    }

    @OptIn(ExperimentalTestApi::class)
    @Test
    fun `it says why the GPU is not used`() = runDesktopComposeUiTest(400, 900) {
        setContent { Shown(state.copy(refused = Refusal(crashed = false, "no memory")), gpu = true) }
        onNodeWithText("Not on the GPU: no memory").performScrollTo().assertIsDisplayed()
    }

    @Test
    fun `both languages have the same texts`() {
        assertEquals(strings("values").keys - "app_name", strings("values-de").keys)
        val placeholders = Regex("%[0-9$]*[a-z]")
        for ((name, text) in strings("values-de")) {
            assertEquals(placeholders.findAll(strings("values").getValue(name)).map { it.value }.toSet(), placeholders.findAll(text).map { it.value }.toSet(), name)
        }
    }

    @Test
    fun `pictures of the screen are drawn`() {
        val folder = File(checkNotNull(System.getProperty("pictures"))).apply { mkdirs() }
        val unsure = state.copy(notSure = true, message = Message(Problem.CAMERA_IN_USE, "Camera 0"), refused = Refusal(true, ""))
        val cases = mapOf(
            "phone" to listOf(390, 844), "tablet" to listOf(1280, 800), "small" to listOf(320, 480),
        )
        for ((name, size) in cases) for (dark in listOf(false, true)) for (folderName in listOf("values", "values-de")) for (scale in listOf(1f, 2f)) {
            val (width, height) = size
            val scene = ImageComposeScene(2 * width, 2 * height, Density(2f)) {
                CompositionLocalProvider(LocalDensity provides Density(2f, scale)) {
                    Shown(if (dark) unsure else state, folder = folderName, dark = dark)
                }
            }
            val png = checkNotNull(scene.render().encodeToData()).bytes
            scene.close()
            assertTrue(png.size > 5000)
            File(folder, "${name}_${if (dark) "dark" else "light"}_${folderName}_$scale.png").writeBytes(png)
        }
    }
}
