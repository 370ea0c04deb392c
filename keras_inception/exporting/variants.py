"""The variants of an exported file."""

VARIANTS = ("float32", "float16", "dynamic", "int8")
