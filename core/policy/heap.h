/* Numbers with keys, the smallest key first. Also how things are sorted here: qsort asks the system how much
 * memory there is, which the process of policies may not. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct heap_entry {
    uint64_t key;
    uint32_t value;
};

struct heap { /* starts as zero */
    struct heap_entry *entries;
    size_t count, room;
};

void heap_push(struct heap *heap, uint64_t key, uint32_t value);
uint32_t heap_pop(struct heap *heap); /* of one that is not empty; the first is entries[0] */
void heap_free(struct heap *heap);
