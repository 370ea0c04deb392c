package com.example.classifier.ui

import androidx.compose.foundation.Canvas
import androidx.compose.foundation.background
import androidx.compose.foundation.horizontalScroll
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Box
import androidx.compose.foundation.layout.BoxWithConstraints
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.ColumnScope
import androidx.compose.foundation.layout.PaddingValues
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxHeight
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.height
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.layout.width
import androidx.compose.foundation.rememberScrollState
import androidx.compose.foundation.selection.toggleable
import androidx.compose.foundation.verticalScroll
import androidx.compose.material3.Button
import androidx.compose.material3.ExperimentalMaterial3Api
import androidx.compose.material3.FilterChip
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.OutlinedButton
import androidx.compose.material3.Surface
import androidx.compose.material3.Switch
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.geometry.CornerRadius
import androidx.compose.ui.geometry.Size
import androidx.compose.ui.semantics.LiveRegionMode
import androidx.compose.ui.semantics.Role
import androidx.compose.ui.semantics.clearAndSetSemantics
import androidx.compose.ui.semantics.contentDescription
import androidx.compose.ui.semantics.liveRegion
import androidx.compose.ui.semantics.semantics
import androidx.compose.ui.unit.dp
import com.example.classifier.UiState
import com.example.classifier.UiState.Message
import com.example.classifier.UiState.Note
import com.example.classifier.UiState.Problem
import com.example.classifier.UiState.Source
import kerasinception.Answer
import kotlin.math.roundToInt

/** What the user can do. */
interface Actions {
    fun chooseVariant(variant: String)

    fun useGpu(wanted: Boolean)

    fun showCamera()

    fun choosePicture()

    fun freeze(frozen: Boolean)

    fun share()

    fun allowCamera()

    fun tryAgain()
}

/**
 * The only screen: the picture beside or above the answers.
 *
 * @param gpuWanted whether the switch for the GPU is on
 * @param viewfinder draws the camera's preview or the chosen picture
 * @param insets what the system's bars cover
 */
@Composable
fun Screen(
    state: UiState,
    texts: Texts,
    actions: Actions,
    gpuWanted: Boolean,
    insets: PaddingValues = PaddingValues(),
    viewfinder: @Composable (Modifier) -> Unit,
) = Surface(Modifier.fillMaxSize()) {
    BoxWithConstraints(Modifier.fillMaxSize()) {
        val wide = maxWidth > maxHeight
        val panel = if (wide) Modifier.fillMaxHeight().width(minOf(maxWidth / 2, 420.dp)) else Modifier.fillMaxWidth().height(maxHeight * PANEL)
        val picture: @Composable (Modifier) -> Unit = { modifier ->
            Box(modifier.background(MaterialTheme.colorScheme.surfaceVariant), Alignment.Center) {
                viewfinder(Modifier.fillMaxSize().semantics { contentDescription = texts.picture })
            }
        }
        if (wide) {
            Row(Modifier.padding(insets)) {
                picture(Modifier.fillMaxHeight().weight(1f))
                Panel(state, texts, actions, gpuWanted, panel)
            }
        } else {
            Column(Modifier.padding(insets)) {
                picture(Modifier.fillMaxWidth().weight(1f))
                Panel(state, texts, actions, gpuWanted, panel)
            }
        }
    }
}

private const val PANEL = 0.56f // of the height of a phone

@Composable
private fun Panel(state: UiState, texts: Texts, actions: Actions, gpuWanted: Boolean, modifier: Modifier) =
    Column(modifier.verticalScroll(rememberScrollState()).padding(16.dp), Arrangement.spacedBy(12.dp)) {
        state.message?.let { Problem(it, texts, actions) }
        if (state.isLoading) Text(texts.loading, style = MaterialTheme.typography.titleMedium)
        Answers(state, texts)
        state.note?.let { if (it == Note.REDUCED) Text(texts.reduced, style = MaterialTheme.typography.bodyMedium) }
        Buttons(state, texts, actions)
        Settings(state, texts, actions, gpuWanted)
    }

@Composable
private fun Problem(message: Message, texts: Texts, actions: Actions) =
    Surface(color = MaterialTheme.colorScheme.errorContainer, shape = MaterialTheme.shapes.medium) {
        Column(Modifier.fillMaxWidth().padding(12.dp), Arrangement.spacedBy(8.dp)) {
            Text(texts.problem(message.problem), Modifier.semantics { liveRegion = LiveRegionMode.Polite })
            if (message.detail.isNotEmpty()) Text(message.detail, style = MaterialTheme.typography.bodySmall)
            when {
                message.problem == Problem.NO_PERMISSION -> OutlinedButton(actions::allowCamera) { Text(texts.allowCamera) }
                message.problem.canBeTriedAgain -> OutlinedButton(actions::tryAgain) { Text(texts.tryAgain) }
            }
        }
    }

private val Problem.canBeTriedAgain
    get() = this in listOf(Problem.RUNTIME, Problem.CAMERA_IN_USE, Problem.CAMERA_FAILED, Problem.NO_FRAME)

@Composable
private fun ColumnScope.Answers(state: UiState, texts: Texts) {
    if (state.notSure) Text(texts.notSure, style = MaterialTheme.typography.headlineSmall)
    state.answers.forEachIndexed { place, answer -> Bar(answer, texts, isFirst = place == 0 && !state.notSure) }
}

@Composable
private fun Bar(answer: Answer, texts: Texts, isFirst: Boolean) {
    val percent = "%.1f".format(100 * answer.probability)
    val style = MaterialTheme.typography.run { if (isFirst) titleMedium else bodyLarge }
    val color = MaterialTheme.colorScheme.run { if (isFirst) primary else secondary }
    val ground = MaterialTheme.colorScheme.surfaceVariant
    val spoken = texts.answer(answer.label, "${(100 * answer.probability).roundToInt()}")
    Column(Modifier.clearAndSetSemantics { contentDescription = spoken }, Arrangement.spacedBy(4.dp)) {
        Row(horizontalArrangement = Arrangement.spacedBy(12.dp)) {
            Text(answer.label, Modifier.weight(1f), style = style)
            Text("$percent %", style = style)
        }
        Canvas(Modifier.fillMaxWidth().height(8.dp)) {
            val corners = CornerRadius(size.height / 2)
            drawRoundRect(ground, cornerRadius = corners)
            val width = size.width * answer.probability.coerceIn(0f, 1f)
            if (width > 0) drawRoundRect(color, size = Size(maxOf(width, size.height), size.height), cornerRadius = corners)
        }
    }
}

@Composable
private fun Buttons(state: UiState, texts: Texts, actions: Actions) {
    Row(Modifier.fillMaxWidth(), Arrangement.spacedBy(8.dp)) {
        if (state.source == Source.CAMERA) {
            Button({ actions.freeze(!state.frozen) }, Modifier.weight(1f), enabled = state.answers.isNotEmpty()) {
                Text(if (state.frozen) texts.goOn else texts.freeze)
            }
        } else {
            Button(actions::showCamera, Modifier.weight(1f)) { Text(texts.camera) }
        }
        OutlinedButton(actions::share, Modifier.weight(1f), enabled = state.answers.isNotEmpty()) { Text(texts.share) }
    }
    OutlinedButton(actions::choosePicture, Modifier.fillMaxWidth()) { Text(texts.choosePicture) }
}

@OptIn(ExperimentalMaterial3Api::class) // of the chips, in Compose of 2023
@Composable
private fun Settings(state: UiState, texts: Texts, actions: Actions, gpuWanted: Boolean) {
    if (state.variants.size > 1) {
        Text(texts.variant, style = MaterialTheme.typography.labelLarge)
        Row(Modifier.fillMaxWidth().horizontalScroll(rememberScrollState()), Arrangement.spacedBy(8.dp)) {
            state.variants.forEach { variant ->
                FilterChip(variant == state.variant, { actions.chooseVariant(variant) }, { Text(variant) })
            }
        }
    }
    val toggle = Modifier.toggleable(gpuWanted, role = Role.Switch, onValueChange = actions::useGpu)
    Row(toggle.fillMaxWidth(), verticalAlignment = Alignment.CenterVertically) {
        Text(texts.useGpu, Modifier.weight(1f))
        Switch(gpuWanted, onCheckedChange = null)
    }
    state.refused?.let {
        Text(if (it.crashed) texts.gpuCrashed else texts.gpuFailed(it.reason), style = MaterialTheme.typography.bodyMedium)
    }
    state.milliseconds?.let { milliseconds ->
        val where = if (state.onGpu) texts.onGpu else texts.onCpu
        val shown = texts.milliseconds((if (milliseconds < 10) "%.1f" else "%.0f").format(milliseconds))
        Text("${state.variant} · $where · $shown", style = MaterialTheme.typography.bodyMedium)
    }
}
