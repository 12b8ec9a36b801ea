"""Find out how much of a fragmented MP4 file is complete, for example after a power cut."""

import os

_SUSPECT = 4  # fragments at the end, two seconds, whose data may be missing although the file has their length


def complete_bytes(fd: int, size: int) -> int:
    """The length up to which a fragmented MP4 file consists of complete fragments (boxes `moof` and `mdat`); 0 if none.

    ISO/IEC 14496-12: a box is its size (4 bytes), its type (4 bytes), and if the size is 1 the actual size (8 bytes). The
    pictures in the last fragments are checked too: a file system may store a length before the data.
    """
    at = 0
    fragments: list[tuple[int, int]] = []  # first byte of the pictures, end
    tail = 0  # end of the index after the last fragment of a finished file
    while at + 8 <= size:
        head = os.pread(fd, 16, at)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8 or at + length > size:
            break
        if kind == b"mdat":
            fragments.append((at + (16 if head[:4] == b"\0\0\0\1" else 8), at + length))
        elif kind == b"mfra":
            tail = at + length
        at += length
    suspects = fragments[-_SUSPECT:]
    for number, (first, end) in enumerate(suspects, len(fragments) - len(suspects)):
        if not _has_pictures(fd, first, end):
            return fragments[number - 1][1] if number else 0
    return max(tail, fragments[-1][1]) if fragments else 0


def _has_pictures(fd: int, at: int, end: int) -> bool:
    """Whether the bytes are H.264 NAL units, each after its length (4 bytes). None ends in a zero byte (ITU-T H.264, 7.4.1)."""
    while at + 4 < end:
        length = int.from_bytes(os.pread(fd, 4, at), "big")
        at += 4 + length
        if length == 0 or at > end or os.pread(fd, 1, at - 1) == b"\0":
            return False
    return at == end
