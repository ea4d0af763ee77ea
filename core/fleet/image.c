/* Parses ESP32 application images. Offsets and rules: ESP-IDF's esp_app_format.h and bootloader_support, and
 * what esptool's elf2image writes. Each check_* refuses with the first thing that is wrong; those behind it
 * may rely on what it checked. */
#include "fleet/image.h"
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    HEADER = 24,
    SEGMENT_HEADER = 8,
    SEGMENTS_MAX = 16,
    SEGMENT_LIMIT = 16 << 20,
    DESCRIPTION = HEADER + SEGMENT_HEADER, /* at the start of the first segment's data */
    DESCRIPTION_SIZE = 256,
    HASH = 32,
    V1_FILL = 12, /* from a v1 signature's end to the next 16 bytes */
};

static const struct chip {
    uint16_t id;
    const char *name;
} chips[] = {
    {0, "esp32"},    {2, "esp32s2"},  {5, "esp32c3"},   {9, "esp32s3"},  {12, "esp32c2"},  {13, "esp32c6"},
    {16, "esp32h2"}, {18, "esp32p4"}, {20, "esp32c61"}, {23, "esp32c5"}, {25, "esp32h21"}, {28, "esp32h4"},
};

bool image_chip_known(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof(chips) / sizeof(chips[0]); i++) {
        if (strlen(chips[i].name) == len && memcmp(chips[i].name, name, len) == 0)
            return true;
    }
    return false;
}

static uint16_t u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t u32(const uint8_t *p)
{
    return (uint32_t)u16(p) | (uint32_t)u16(p + 2) << 16;
}

/* The first byte in [from, to) that is not `with`; `to` if there is none. */
static size_t first_other(const uint8_t *data, size_t from, size_t to, uint8_t with)
{
    while (from < to && data[from] == with)
        from++;
    return from;
}

__attribute__((format(printf, 4, 5))) static bool refuse(struct image_error *err, const char *check,
                                                         size_t offset, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    err->check = check;
    err->offset = offset;
    vsnprintf(err->message, sizeof(err->message), format, args);
    va_end(args);
    return false;
}

/* What a file that begins with neither magic nor chance most likely is; "" if nobody knows. */
static const char *likely(const uint8_t *data, size_t len)
{
    static const struct {
        size_t at;
        const char *bytes, *what;
    } kinds[] = {
        {0, "\xAA\x50", ": this is a partition table"},
        {0, "\xFF\xFF\xFF\xFF", ": this is a dump of flash or empty; upload the application alone"},
        {0,
         "\x7F"
         "ELF",
         ": this is an ELF file; upload the .bin made from it"},
        {0, "UF2\n", ": this is a UF2 file; upload the .bin"},
        {0, ":10", ": this is an Intel HEX file; upload the .bin"},
        {0, "\x1F\x8B", ": this is a gzip file; unpack it first"},
        {0, "PK\x03\x04", ": this is a zip file; unpack it first"},
        {0, "\xE7", ": this may be a Secure Boot signature without its image"},
        {0, "\x10\xDE\xCD\xFC", ": this is a delta patch"},
        {8, "littlefs", ": this is a LittleFS image"},
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        size_t n = strlen(kinds[i].bytes);
        if (len >= kinds[i].at + n && memcmp(data + kinds[i].at, kinds[i].bytes, n) == 0)
            return kinds[i].what;
    }
    return "";
}

/* A merged image has its partition table where the bootloader looks for it, usually at 0x8000. */
static bool has_partition_table(const uint8_t *data, size_t len)
{
    for (size_t at = 0x8000; at + 4 <= len && at <= 0x20000; at += 0x1000)
        if (data[at] == 0xAA && data[at + 1] == 0x50 && data[at + 2] <= 1)
            return true;
    return false;
}

static bool check_header(const uint8_t *data, size_t len, struct image *out, struct image_error *err)
{
    if (len == 0)
        return refuse(err, "size", 0, "the file is empty");
    if (data[0] != 0xE9)
        return refuse(err, "magic", 0, "expected 0xE9, found 0x%02X%s", data[0], likely(data, len));
    if (len < HEADER)
        return refuse(err, "size", len, "expected a header of %d bytes, the file has %zu", HEADER, len);
    uint16_t id = u16(data + 12);
    for (size_t i = 0; i < sizeof(chips) / sizeof(chips[0]); i++)
        if (chips[i].id == id)
            out->chip = chips[i].name;
    if (!out->chip)
        return refuse(err, "chip", 12, "chip id %u is none of the known ESP32 chips", id);
    if (data[1] < 1 || data[1] > SEGMENTS_MAX)
        return refuse(err, "header", 1, "expected 1 to %d segments, found %u", SEGMENTS_MAX, data[1]);
    if (data[2] > 5)
        return refuse(err, "header", 2, "expected a SPI mode of 0 to 5, found %u", data[2]);
    if ((data[3] & 15) > 2 && (data[3] & 15) != 15)
        return refuse(err, "header", 3, "expected a SPI speed of 0, 1, 2 or 15, found %u", data[3] & 15);
    if (data[3] >> 4 > 7)
        return refuse(err, "header", 3, "expected a flash size code of 0 to 7, found %u", data[3] >> 4);
    unsigned legacy = data[14], least = u16(data + 15), most = u16(data + 17);
    /* Older tools fill only the legacy byte: a minor revision on the C3, a major one elsewhere. */
    out->min_chip_revision = least ? least : id == 5 ? legacy : legacy * 100;
    if (most && most < out->min_chip_revision)
        return refuse(err, "header", 17, "largest chip revision %u is below the smallest, %u", most,
                      out->min_chip_revision);
    size_t reserved = first_other(data, 19, 23, 0);
    if (reserved < 23)
        return refuse(err, "header", reserved, "expected a reserved byte of 0, found 0x%02X", data[reserved]);
    if (data[23] > 1)
        return refuse(err, "header", 23, "expected hash_appended to be 0 or 1, found %u", data[23]);
    return true;
}

/* Bytes of the UTF-8 sequence at p (`len` of them left) if it is well-formed and printable, else 0. */
static size_t character(const uint8_t *p, size_t len)
{
    static const uint32_t least[] = {0, 0x20, 0xA0, 0x800, 0x10000};
    size_t n = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
    if (n == 0 || n > len)
        return 0;
    uint32_t code = n == 1 ? p[0] : p[0] & (0x7Fu >> n);
    for (size_t i = 1; i < n; i++) {
        if (p[i] >> 6 != 2)
            return 0;
        code = code << 6 | (p[i] & 63);
    }
    return code < least[n] || code == 0x7F || code >> 11 == 0x1B || code > 0x10FFFF ? 0 : n;
}

static bool copy_text(char out[33], const uint8_t *data, size_t offset, const char *name,
                      struct image_error *err)
{
    size_t len = strnlen((const char *)data + offset, 32);
    for (size_t i = 0, n; i < len; i += n) {
        n = character(data + offset + i, len - i);
        if (n == 0)
            return refuse(err, "app_desc", offset + i, "%s is not printable UTF-8", name);
    }
    memcpy(out, data + offset, len);
    out[len] = '\0';
    return true;
}

static bool check_description(const uint8_t *data, size_t len, struct image *out, struct image_error *err)
{
    const uint8_t *d = data + DESCRIPTION;
    if (len < DESCRIPTION + DESCRIPTION_SIZE)
        return refuse(err, "size", len, "expected %d bytes of headers, the file ends after %zu",
                      DESCRIPTION + DESCRIPTION_SIZE, len);
    if (u32(d) != 0xABCD5432) {
        const char *what = has_partition_table(data, len)
                               ? "this is a merged flash image; upload the application alone"
                           : d[0] == 0x50 ? "this is a bootloader"
                                          : "this is a bootloader, or no ESP-IDF application";
        return refuse(err, "app_desc", DESCRIPTION, "expected the magic 0xABCD5432, found 0x%08X: %s", u32(d),
                      what);
    }
    out->secure_version = u32(d + 4);
    sodium_bin2hex(out->elf_sha256, sizeof(out->elf_sha256), d + 144, HASH);
    return copy_text(out->version, data, DESCRIPTION + 16, "version", err) &&
           copy_text(out->project, data, DESCRIPTION + 48, "project name", err) &&
           copy_text(out->idf_version, data, DESCRIPTION + 112, "IDF version", err);
}

/* *end: behind the checksum, a multiple of 16. */
static bool check_segments(const uint8_t *data, size_t len, size_t *end, struct image_error *err)
{
    size_t at = HEADER;
    uint8_t sum = 0xEF;
    for (unsigned i = 0; i < data[1]; i++) {
        if (len - at < SEGMENT_HEADER)
            return refuse(err, "segments", at, "segment %u of %u is missing: the file ends after %zu bytes",
                          i + 1, data[1], len);
        uint32_t size = u32(data + at + 4);
        if (size % 4 || size >= SEGMENT_LIMIT || (i == 0 && size < DESCRIPTION_SIZE))
            return refuse(err, "segments", at + 4, "segment %u cannot have %u bytes", i + 1, size);
        at += SEGMENT_HEADER;
        if (size > len - at)
            return refuse(err, "segments", at, "segment %u needs %u bytes, the file has %zu left", i + 1,
                          size, len - at);
        for (size_t stop = at + size; at < stop; at++)
            sum ^= data[at];
    }
    *end = (at / 16 + 1) * 16;
    if (*end > len)
        return refuse(err, "checksum", at, "the checksum is missing: the file ends after %zu bytes", len);
    size_t padding = first_other(data, at, *end - 1, 0);
    if (padding < *end - 1)
        return refuse(err, "checksum", padding, "expected padding of 0 before the checksum, found 0x%02X",
                      data[padding]);
    if (data[*end - 1] != sum)
        return refuse(err, "checksum", *end - 1, "expected 0x%02X, found 0x%02X", sum, data[*end - 1]);
    return true;
}

/* *end moves behind the appended hash. */
static bool check_hash(const uint8_t *data, size_t len, size_t *end, struct image_error *err)
{
    if (!data[23])
        return true;
    if (len - *end < HASH)
        return refuse(err, "hash", *end, "the appended SHA-256 is missing: the file ends after %zu bytes",
                      len);
    uint8_t hash[HASH];
    crypto_hash_sha256(hash, data, *end);
    if (memcmp(hash, data + *end, HASH) != 0)
        return refuse(err, "hash", *end, "the appended SHA-256 is not that of the %zu bytes before it", *end);
    *end += HASH;
    return true;
}

/* Behind the image: a Secure Boot signature or none, then nothing but 0xFF. */
static bool check_rest(const uint8_t *data, size_t len, size_t end, struct image *out,
                       struct image_error *err)
{
    size_t sector = (end + SECURE_BOOT_SECTOR - 1) / SECURE_BOOT_SECTOR * SECURE_BOOT_SECTOR, where = 0;
    const char *why = NULL;
    if (u16(data + 12) == 0 && len - end >= SECURE_BOOT_V1_SIZE && u32(data + end) == 0) {
        why = secure_boot_check_v1(data + end, &where);
        where += end;
        out->signature_kind = SECURE_BOOT_V1;
        end += SECURE_BOOT_V1_SIZE;
        if (len - end == V1_FILL)
            end = len;
    } else if (sector < len && data[sector] == 0xE7 && first_other(data, end, sector, 0xFF) == sector) {
        if (len - sector < SECURE_BOOT_SECTOR)
            return refuse(err, "signature", len, "the signature sector of %d bytes ends after %zu",
                          SECURE_BOOT_SECTOR, len - sector);
        why = secure_boot_verify_v2(data, sector, &out->signature_kind, &where);
        end = sector + SECURE_BOOT_SECTOR;
    }
    if (why)
        return refuse(err, "signature", where, "Secure Boot: %s", why);
    size_t other = first_other(data, end, len, 0xFF);
    if (other < len)
        return refuse(err, "trailing", other,
                      "expected the end, a Secure Boot signature or 0xFF behind the image, found 0x%02X",
                      data[other]);
    if (!data[23] && out->signature_kind != SECURE_BOOT_V2_RSA && out->signature_kind != SECURE_BOOT_V2_ECDSA)
        return refuse(err, "hash", 23,
                      "the image has no appended SHA-256, so damage could go unnoticed; build it with one "
                      "(esptool's default)");
    return true;
}

bool image_parse(const uint8_t *data, size_t len, struct image *out, struct image_error *err)
{
    memset(out, 0, sizeof(*out));
    size_t end = 0;
    if (!check_header(data, len, out, err) || !check_description(data, len, out, err) ||
        !check_segments(data, len, &end, err) || !check_hash(data, len, &end, err) ||
        !check_rest(data, len, end, out, err))
        return false;
    uint8_t hash[HASH];
    crypto_hash_sha256(hash, data, len);
    sodium_bin2hex(out->sha256, sizeof(out->sha256), hash, HASH);
    out->size = len;
    return true;
}
