"""An ESP32 application image that passes otad's checks, made of noise, so that it does not compress."""
import hashlib
import random
import struct


def make_image(size, version="1.3.0"):
    """About `size` bytes: header, description, one segment, checksum and appended SHA-256."""
    noise = random.Random(1)
    description = struct.pack("<II8x32s32s16s16s32s32s80x", 0xABCD5432, 0, version.encode(), b"otad-bench", b"12:00:00",
                              b"Jan  1 2026", b"v5.2", noise.randbytes(32))
    data = description + noise.randbytes(size // 4 * 4 - len(description))
    image = struct.pack("<BBBBIB3xHBHH4xB", 0xE9, 1, 2, 0x20, 0x40080000, 0xEE, 0, 0, 0, 65535, 1)
    image += struct.pack("<II", 0x3F400020, len(data)) + data
    checksum = 0xEF
    for byte in data:
        checksum ^= byte
    image += bytes(15 - len(image) % 16) + bytes([checksum])
    return image + hashlib.sha256(image).digest()
