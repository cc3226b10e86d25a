"""The commands of `fastlstm.cli`, a module each: `add_parser` describes one, `run` runs it.

Nothing heavy is imported before a command runs, so that `--help` and `--version` answer at once.
"""
