from __future__ import annotations


def bounded(text: str, max_characters: int) -> str:
    """The start of `text`, encodable as UTF-8: surrogate pairs are joined, a lone surrogate becomes U+FFFD.

    Cutting before tokenising bounds the cost of any text. NUL, bidi and other control characters stay: the tokenizer
    drops them.
    """
    head = text[:max_characters]
    if head.isascii():
        return head
    return head.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
