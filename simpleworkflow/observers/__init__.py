"""Observers that ship with the library; each imports its own library when it is built."""
