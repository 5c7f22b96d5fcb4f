"""The error of a command line that makes no sense."""


class OptionError(Exception):
    """The text says what to change."""
