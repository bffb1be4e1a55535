"""The one error a user may cause: bad input."""


class InputError(ValueError):
    """Bad input, told in one line: what is wrong, where, and what to do about it.

    The command line prints the line and ends with exit code 2; nothing is written.
    """

    def __init__(self, what, where=None, hint=None):
        parts = [str(where) + ":" if where is not None else "", " ".join(str(what).split()), f"({hint})" if hint else ""]
        super().__init__(" ".join(p for p in parts if p))
