"""How values are shown to people: quantities short, intervals beside them, foreign text harmless.

Used by the terminal and by reports alike. It must not know where a value comes from.
"""

import unicodedata

from harness.reading import Reading

__all__ = ["interval", "number", "printable", "quantity", "share", "spread"]

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB")
_DECIMAL = ("", "k", "M", "G", "T", "P")
_RATES = {"bytes/s": "B/s", "FLOP/s": "FLOP/s"}
_SHORT = {"tokens/s": "tok/s", "tokens": "tok", "requests/s": "req/s"}


def quantity(value: float, unit: str) -> str:
    """Return a value with its unit, three digits and up: `27.4 ms`, `540 MiB`, `31.2 GB/s`."""
    if unit == "bytes":
        return _scaled(value, _BINARY, 1024, "")
    if unit.startswith("bytes/") and unit not in _RATES:  # bytes/1000 tokens
        return f"{_scaled(value, _BINARY, 1024, '')}/{unit.removeprefix('bytes/')}"
    if unit in _RATES:
        return _scaled(value, _DECIMAL, 1000, _RATES[unit])
    if unit == "ms" and value and abs(value) < 0.1:
        return f"{number(value * 1000)} µs"
    if unit == "ms" and abs(value) >= 10_000:
        return f"{number(value / 1000)} s"
    return f"{number(value)} {_SHORT.get(unit, unit)}".rstrip()


def number(value: float) -> str:
    """Return a number with three significant digits, whole where it is large: `0.012`, `1,424`."""
    size = abs(value)
    if size >= 1e9 or 0 < size < 1e-4:
        return f"{value:.2e}"
    if float(value).is_integer():
        return f"{value:,.0f}"
    for limit, places in ((99.95, 0), (9.995, 1), (0.9995, 2)):
        if size >= limit:
            return f"{value:,.{places}f}"
    return f"{value:.3g}"


def spread(reading: Reading) -> str:
    """Return the half-width of the 95 % interval, `± 1.2 %`; empty where there is none."""
    if reading.low is None or reading.high is None:
        return ""
    half = reading.half_width
    if half is None:
        return f"± {number((reading.high - reading.low) / 2)}"
    percent = 100 * half
    if percent < 0.05:
        return "± <0.1 %"
    if percent >= 1000:
        return "± >1000 %"
    return f"± {percent:.1f} %" if percent < 9.95 else f"± {percent:,.0f} %"


def interval(reading: Reading, unit: str) -> str:
    """Return both ends of the 95 % interval, or why there is none, or why there is no value."""
    if reading.value is None:
        return reading.reason or ""
    if reading.low is None or reading.high is None:
        return reading.no_interval or ""
    return f"{quantity(reading.low, unit)} to {quantity(reading.high, unit)}"


def share(value: float) -> str:
    """Return a share of one as per cent: `62 %`, `4.1 %`."""
    percent = 100 * value
    return f"{percent:.0f} %" if percent >= 9.95 else f"{percent:.1f} %"


def printable(text: object, limit: int = 400, *, lines: bool = False) -> str:
    """Return text that can do nothing to a terminal or page but be read.

    Control, format and private characters (ANSI escapes, right-to-left marks) become their code;
    what is longer than `limit` loses its middle. `lines` keeps line breaks and tabs.
    """
    text = str(text)
    if len(text) > limit:
        half = (limit - 1) // 2
        text = f"{text[:half]}…{text[-half:]}"
    if text.isprintable():
        return text
    keep = "\n\t" if lines else ""
    return "".join(c if c in keep else _harmless(c) for c in text)


def _harmless(char: str) -> str:
    if unicodedata.category(char)[0] != "C" and char not in "\u2028\u2029":
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def _scaled(value: float, prefixes: tuple[str, ...], base: int, unit: str) -> str:
    step = 0
    while abs(value) >= 0.9995 * base and step < len(prefixes) - 1:
        value /= base
        step += 1
    return f"{number(value)} {prefixes[step]}{unit}"
