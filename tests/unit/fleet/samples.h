/* Real images that may stand beside the project, in ../shared/firmware; tests that need one skip without. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h> /* needs those above */

#define SAMPLES SOURCE_DIR "/../shared/firmware/"

/* The file's bytes, for free(); skips the test if it is not there. */
static inline uint8_t *sample(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        print_message("no %s here\n", path);
        skip();
    }
    uint8_t *bytes = malloc(1 << 20);
    *len = fread(bytes, 1, 1 << 20, file);
    assert_true(feof(file));
    fclose(file);
    return bytes;
}
