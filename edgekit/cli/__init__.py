"""The command line: one module a command, each parses, makes one SDK call and renders."""
