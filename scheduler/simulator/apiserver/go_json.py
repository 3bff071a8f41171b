"""What Go's JSON scanner says of a text that is no JSON."""

import msgspec


def go_json_problem(text: bytes) -> str:
    """What Go's JSON scanner says of a text that is no JSON.

    Exact for the cases that clients run into: an empty or cut-off text, and one that does not
    begin as JSON does.
    """
    stripped = text.strip(b" \t\r\n")
    if not stripped:
        return "unexpected end of JSON input"
    first = stripped[:1]
    if first in b'{["' or first.isdigit() or first == b"-":
        return "unexpected end of JSON input" if _is_cut_off(stripped) else _unexpected(stripped)
    for word in (b"true", b"false", b"null"):
        if first == word[:1]:
            return _literal_problem(stripped, word)
    return f"invalid character {_go_char(first)} looking for beginning of value"


def _is_cut_off(text: bytes) -> bool:
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        return "truncated" in str(error)
    return False


def _unexpected(text: bytes) -> str:
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        position = str(error).rpartition("byte ")[2].rstrip(")")
        at = int(position) if position.isdigit() else 0
        char = text[at : at + 1] or text[-1:]
        if text[:1] == b"{" and text[:at].rstrip().endswith((b"{", b",")):
            return f"invalid character {_go_char(char)} looking for beginning of object key string"
        if text[:at].rstrip().endswith((b":", b"[", b",")):
            return f"invalid character {_go_char(char)} looking for beginning of value"
        if at and "trailing" in str(error):
            return f"invalid character {_go_char(char)} after top-level value"
        return f"invalid character {_go_char(char)} after object key:value pair"
    return "unexpected end of JSON input"


def _literal_problem(text: bytes, word: bytes) -> str:
    for i, expected in enumerate(word):
        if i >= len(text):
            return "unexpected end of JSON input"
        if text[i] != expected:
            char, want = _go_char(text[i : i + 1]), chr(expected)
            return f"invalid character {char} in literal {word.decode()} (expecting '{want}')"
    return f"invalid character {_go_char(text[len(word) : len(word) + 1])} after top-level value"


def _go_char(char: bytes) -> str:
    if char == b"'":
        return r"'\''"
    if char == b'"':
        return "'\"'"
    code = char[0] if char else 0
    if code >= 0x80:
        # Go shows the byte as the code point of the same number.
        return (
            f"'{chr(code)}'" if code >= 0xA1 else rf"'\x{code:02x}'" if code < 0xA0 else "'\\u00a0'"
        )
    return f"'{chr(code)}'" if 0x20 <= code < 0x7F else rf"'\x{code:02x}'"
