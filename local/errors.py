"""The one error that a command of this package ends with."""


class LocalClusterError(Exception):
    """Something a person can act on: the text says what is wrong, where, and what to do."""
