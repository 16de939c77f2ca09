"""REST: events in, what became of them out. Reads the audit store and appends to the log; never touches tables.

This file imports nothing: a command that needs `keys` does not pay for the server.
"""
