package kerasinception

/** Read JSON: objects are maps, arrays lists, numbers doubles. Texts from strangers are expected. */
class Json private constructor(private val text: String) {
    private var at = 0

    private fun value(depth: Int): Any? {
        if (depth > DEEPEST) throw wrong("too many levels")
        return when (val next = peek()) {
            '{' -> members(depth)
            '[' -> elements(depth)
            '"' -> string()
            't' -> word("true", true)
            'f' -> word("false", false)
            'n' -> word("null", null)
            else -> if (next == '-' || next in '0'..'9') number() else throw wrong("'$next'")
        }
    }

    private fun members(depth: Int): Map<String, Any?> {
        val found = LinkedHashMap<String, Any?>()
        listed('{', '}') {
            if (peek() != '"') throw wrong("a name without quotes")
            val name = string()
            expect(':')
            found[name] = value(depth + 1)
        }
        return found
    }

    private fun elements(depth: Int): List<Any?> {
        val found = ArrayList<Any?>()
        listed('[', ']') { found += value(depth + 1) }
        return found
    }

    private fun listed(first: Char, last: Char, element: () -> Unit) {
        expect(first)
        if (peek() == last) return expect(last)
        while (true) {
            element()
            if (peek() == last) return expect(last)
            expect(',')
        }
    }

    private fun string(): String {
        expect('"')
        val found = StringBuilder()
        while (true) {
            when (val next = take()) {
                '"' -> return found.toString()
                '\\' -> found.append(escaped())
                else -> if (next < ' ') throw wrong("a control character") else found.append(next)
            }
        }
    }

    private fun escaped(): Char = when (val next = take()) {
        'u' -> {
            val digits = String(CharArray(4) { take() })
            digits.toIntOrNull(16)?.toChar() ?: throw wrong("\\u$digits")
        }
        else -> ESCAPES[next] ?: throw wrong("\\$next")
    }

    private fun number(): Double {
        val from = at
        while (at < text.length && text[at] in "+-.0123456789eE") at++
        return text.substring(from, at).toDoubleOrNull() ?: throw wrong(text.substring(from, at))
    }

    private fun <T> word(word: String, meaning: T): T {
        word.forEach { if (take() != it) throw wrong("no $word") }
        return meaning
    }

    private fun expect(character: Char) {
        if (peek() != character) throw wrong("'${text[at]}' in place of '$character'")
        at++
    }

    private fun peek(): Char {
        while (at < text.length && text[at] in " \t\r\n") at++
        return text.getOrNull(at) ?: throw wrong("its end")
    }

    private fun take(): Char = text.getOrNull(at++) ?: throw wrong("its end")

    private fun wrong(received: String) = IllegalArgumentException("not JSON: $received at character $at")

    companion object {
        private const val DEEPEST = 100
        private val ESCAPES = mapOf(
            '"' to '"', '\\' to '\\', '/' to '/', 'b' to '\b', 'f' to '\u000c', 'n' to '\n', 'r' to '\r', 't' to '\t',
        )

        /**
         * Return the value that a text describes.
         *
         * @throws IllegalArgumentException if the text is not JSON
         */
        fun parse(text: String): Any? {
            val json = Json(text)
            val found = json.value(0)
            if (text.substring(json.at).isNotBlank()) throw json.wrong("more text")
            return found
        }
    }
}
