/* ESP32 application images. What fails at the checksum or the hash alone is mended and tried again, so that
 * the fuzzer gets behind them; what is accepted must keep the promises of fleet/image.h. */
#include "fleet/image.h"
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool promise)
{
    if (!promise)
        abort();
}

static bool ends(const char *text, size_t size)
{
    return memchr(text, 0, size) != NULL;
}

static bool parse(const uint8_t *data, size_t size, struct image_error *err)
{
    struct image image;
    if (!image_parse(data, size, &image, err)) {
        check(err->check && err->offset <= size && err->message[0] &&
              ends(err->message, sizeof(err->message)));
        return false;
    }
    check(image.chip && image.size == size && strlen(image.sha256) == 64 && strlen(image.elf_sha256) == 64);
    check(ends(image.version, 33) && ends(image.project, 33) && ends(image.idf_version, 33));
    check(secure_boot_name(image.signature_kind) != NULL);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image_error err;
    if (parse(data, size, &err))
        return 0;
    uint8_t *mended = malloc(size + 1);
    memcpy(mended, data, size);
    if (strcmp(err.check, "checksum") == 0 && err.offset < size) {
        uint8_t *sum = mended + err.offset;
        size_t at = err.offset;
        for (int i = 0; i < 256 && strcmp(err.check, "checksum") == 0 && err.offset == at; i++) {
            *sum = (uint8_t)i;
            parse(mended, size, &err);
        }
    }
    if (strcmp(err.check, "hash") == 0 && err.offset + 32 <= size && mended[23] == 1) {
        crypto_hash_sha256(mended + err.offset, mended, err.offset);
        parse(mended, size, &err);
    }
    free(mended);
    return 0;
}
