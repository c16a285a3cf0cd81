"""The real runtimes, behind one small interface."""
