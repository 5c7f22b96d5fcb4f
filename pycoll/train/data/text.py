"""Text to train on: a file of the user's, or what ships with every CPython."""

from __future__ import annotations

from pathlib import Path


def python_reference() -> str:
    """Return the topics of the Python language reference, about 370 000 characters.

    It needs no download: ``help("if")`` shows the same text. Topics repeat each other (a fifth of
    all paragraphs), hence each paragraph is kept once: otherwise the validation text would in part
    be training text. The text differs a little between versions of Python.

    Raises
    ------
    FileNotFoundError
        When this Python comes without ``pydoc_data``, as some minimal packages do.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise FileNotFoundError(
            "this Python comes without the module pydoc_data, the default text; "
            "pass a text file of your own with --data FILE"
        ) from error
    paragraphs = "\n\n".join(topics[name] for name in sorted(topics)).split("\n\n")
    return "\n\n".join(dict.fromkeys(paragraph.strip("\n") for paragraph in paragraphs))


def read_text(path: Path | None) -> str:
    """Return the text of a UTF-8 file, or `python_reference` for None.

    Raises
    ------
    OSError
        When the file cannot be read.
    ValueError
        When it is not UTF-8.
    """
    if path is None:
        return python_reference()
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from error
