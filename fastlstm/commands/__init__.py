"""The commands of `fastlstm.cli`: a module each, or a package if there is more to a command.

Each has `add_parser`, which describes the command, and `run`, which runs it. They import nothing
heavy before the command runs, so that `--help` and `--version` answer at once. The work of a
command is in the other modules of its package, or in the library.
"""
