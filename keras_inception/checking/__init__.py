"""Look through labeled images before a training: copies, labels that contradict, and images that show little."""
