#!/usr/bin/env python3
"""Makes sound ESP32 application images for tests, of any chip, version, project and size.

As a module: make_image.build(chip="esp32", version="1.2.0", ...) -> bytes. As a command:

    python3 tests/lib/make_image.py --chip esp32 --version 1.2.0 --project demo --size 65536 OUT

The segments hold bytes drawn from `seed` (by default from the other arguments), so the same call always gives
the same image and other arguments give another one. Layout: ESP-IDF's esp_app_format.h.
"""
import argparse
import hashlib
import random
import struct
import sys

CHIPS = {"esp32": 0, "esp32s2": 2, "esp32c3": 5, "esp32s3": 9, "esp32c2": 12, "esp32c6": 13, "esp32h2": 16,
         "esp32p4": 18, "esp32c61": 20, "esp32c5": 23, "esp32h21": 25, "esp32h4": 28}
FIXED = 24 + 8 + 256 + 8 + 4 + 32  # headers, description, second segment's header, checksum with padding, hash
LEAST = 336
SEGMENT_MOST = (16 << 20) - 4


def field(text, size=32):
    """A description's string: UTF-8, zero-padded, without a closing NUL where it fills the field."""
    data = text.encode()
    if len(data) > size:
        raise ValueError(f"{text!r} is longer than {size} bytes")
    return data.ljust(size, b"\0")


def build(chip="esp32", version="1.0.0", project="demo", size=4096, idf_version="v5.2.1", secure_version=0,
          min_chip_revision=0, max_chip_revision=65535, elf_sha256=None, seed=None):
    """The image's bytes: exactly `size` of them, a multiple of 16 and at least LEAST. elf_sha256: 32 bytes."""
    if size % 16 or size < LEAST:
        raise ValueError(f"size must be a multiple of 16 and at least {LEAST}")
    if seed is None:
        seed = repr((chip, version, project, size, idf_version, secure_version, min_chip_revision))
    noise = random.Random(seed)
    if elf_sha256 is None:
        elf_sha256 = noise.randbytes(32)
    description = struct.pack("<II8x32s32s16s16s32s32sHHB75x", 0xABCD5432, secure_version, field(version),
                              field(project), b"12:00:00", b"Jan  1 2026", field(idf_version), elf_sha256,
                              0, 65535, 16)
    room = size - FIXED
    first = min(room // 2 // 4 * 4, SEGMENT_MOST - len(description))
    second = min(room - first, SEGMENT_MOST)
    segments = [(0x3F400020, description + noise.randbytes(first)), (0x400D0020, noise.randbytes(second))]
    image = bytearray(struct.pack("<BBBBIB3xHBHH4xB", 0xE9, len(segments), 2, 0x20, 0x40081000, 0xEE, CHIPS[chip],
                                  min_chip_revision // 100, min_chip_revision, max_chip_revision, 1))
    checksum = 0xEF
    for address, data in segments:
        image += struct.pack("<II", address, len(data)) + data
        words = int.from_bytes(data, "little")
        width = len(data) * 8
        while width > 8:  # xor of all bytes, by halves
            half = (width // 8 + 1) // 2 * 8
            words = (words >> half) ^ (words & ((1 << half) - 1))
            width = half
        checksum ^= words
    image += bytes(15 - len(image) % 16) + bytes([checksum])
    image += hashlib.sha256(image).digest()
    assert len(image) == size
    return bytes(image)


def main():
    parser = argparse.ArgumentParser(description="Writes a sound ESP32 application image.")
    parser.add_argument("--chip", choices=sorted(CHIPS), default="esp32")
    parser.add_argument("--version", default="1.0.0")
    parser.add_argument("--project", default="demo")
    parser.add_argument("--size", type=int, default=4096, help="bytes, a multiple of 16")
    parser.add_argument("--idf-version", default="v5.2.1")
    parser.add_argument("--secure-version", type=int, default=0)
    parser.add_argument("--min-chip-revision", type=int, default=0, help="major * 100 + minor")
    parser.add_argument("--seed", help="other bytes for the same arguments")
    parser.add_argument("out", metavar="OUT")
    args = parser.parse_args()
    options = {name: value for name, value in vars(args).items() if name != "out"}
    try:
        image = build(**options)
    except ValueError as error:
        parser.error(str(error))
    with open(args.out, "wb") as file:
        file.write(image)
    return 0


if __name__ == "__main__":
    sys.exit(main())
