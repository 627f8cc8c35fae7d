"""The one error that people are meant to read; apart from the other nouns, so that the command line knows it without loading torch."""


class InputError(ValueError):
    """Something that the user gave cannot be used.

    The message is one line: what was given, what is allowed, what to do. The command line prints it without a traceback.
    """
