package com.example.classifier.logic

import kerasinception.Json
import kerasinception.TfliteError

/**
 * What the app was made with: `export.json` in its assets.
 *
 * @property notSure probability of the first class below which the app says that it is not sure
 * @property default the variant that the app starts with
 */
data class Export(val name: String, val notSure: Float?, val default: String, val variants: Map<String, Variant>) {
    /**
     * A file of the model.
     *
     * @property file its name in the assets
     * @property halfPrecision whether processors may compute it in half precision
     */
    data class Variant(val file: String, val halfPrecision: Boolean)

    companion object {
        /**
         * Read the content of `export.json`.
         *
         * @throws TfliteError if it is not what `keras-inception android` writes
         */
        fun parse(text: String): Export = try {
            val fields = Json.parse(text) as Map<*, *>
            val variants = (fields["variants"] as Map<*, *>).entries.associate { (name, row) ->
                val columns = row as Map<*, *>
                name as String to Variant(columns["file"] as String, columns["half_precision"] as Boolean)
            }
            val default = fields["default"] as String
            require(default in variants) { "`default` must be one of ${variants.keys}. Received: $default" }
            Export(fields["name"] as String, (fields["not_sure"] as Double?)?.toFloat(), default, variants)
        } catch (error: RuntimeException) {
            throw TfliteError("The app's export.json is unusable.", error)
        }
    }
}
