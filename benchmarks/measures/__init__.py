"""One module a measurement; each has a docstring that says what it measures, and `measure()`."""
