"""Where results go.

`open.make_writer` finds the writer for a destination. Every writer appends to files in the folder
of an unfinished result (`fastlstm.scoring.partial`), and can cut them back to what the journal
knows of.
"""
