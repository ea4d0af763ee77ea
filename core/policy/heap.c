#include "policy/heap.h"
#include "base/mem.h"
#include <stdbool.h>
#include <stdlib.h>

static bool before(const struct heap_entry *a, const struct heap_entry *b)
{
    return a->key != b->key ? a->key < b->key : a->value < b->value;
}

void heap_push(struct heap *heap, uint64_t key, uint32_t value)
{
    struct heap_entry entry = {key, value};
    if (heap->count == heap->room) {
        heap->room = heap->room == 0 ? 1024 : heap->room * 2;
        heap->entries = x_realloc(heap->entries, heap->room * sizeof(*heap->entries));
    }
    size_t i = heap->count++;
    for (; i > 0 && before(&entry, &heap->entries[(i - 1) / 2]); i = (i - 1) / 2)
        heap->entries[i] = heap->entries[(i - 1) / 2];
    heap->entries[i] = entry;
}

uint32_t heap_pop(struct heap *heap)
{
    struct heap_entry *entries = heap->entries, last = entries[--heap->count];
    uint32_t value = entries[0].value;
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && before(&entries[child + 1], &entries[child]))
            child++;
        if (!before(&entries[child], &last))
            break;
        entries[i] = entries[child];
        i = child;
    }
    entries[i] = last;
    return value;
}

void heap_free(struct heap *heap)
{
    free(heap->entries);
    *heap = (struct heap){0};
}
