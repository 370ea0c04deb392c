package kerasinception

/** A model file that cannot be used. The message is the reason, in a sentence to show to the user. */
class TfliteError(message: String, cause: Throwable? = null) : Exception(message, cause)
