"""The commands of `fastlstm.cli`: a module each, or a package if it has work of its own.

Each has `add_parser`, which describes the command, and `run`, which runs it. These import nothing
heavy before a command runs, so that `--help` and `--version` answer at once; the work of a command
is in the other modules of its package, or in the library.
"""
