"""The rules of the library: pure values and functions, no I/O, no clock, no chance, no threads."""
