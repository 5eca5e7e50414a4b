"""Foreign formats: one module or folder for each, reading and writing side by side."""
