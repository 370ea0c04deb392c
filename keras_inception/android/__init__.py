"""An Android project that classifies with exported files: `project.py` writes it from the template in ``project/``."""
