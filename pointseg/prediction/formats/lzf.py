"""LZF (M. Lehmann's LibLZF), the packing of PCD's `binary_compressed`."""

from __future__ import annotations


def lzf_decompress(data: bytes, size: int) -> bytes:
    """Unpacks LZF (M. Lehmann's LibLZF): runs of literal bytes and references back into what is unpacked already.

    A control byte below 32 announces control + 1 literals. Any other holds a length - 2 in its upper 3 bits (7: the
    next byte is added) and, with the byte after that, a distance - 1 in 13 bits.
    """
    out = bytearray()
    at, end = 0, len(data)
    try:
        while at < end:
            control = data[at]
            at += 1
            if control < 32:
                out += data[at : at + control + 1]
                at += control + 1
                continue
            length = control >> 5
            if length == 7:
                length += data[at]
                at += 1
            length += 2
            distance = ((control & 31) << 8) + data[at] + 1
            at += 1
            if distance > len(out):
                raise ValueError("packed points refer to what is before their start")
            piece = out[len(out) - distance : len(out) - distance + length]
            out += piece * (length // distance) + piece[: length % distance] if distance < length else piece
    except IndexError:
        raise ValueError("packed points end in the middle") from None
    if len(out) != size:
        raise ValueError(f"packed points must unpack to {size} bytes, got {len(out)}")
    return bytes(out)
