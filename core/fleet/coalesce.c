/* The rules by which messages of a device become one write, and the table of devices. */
#include "fleet/coalesce.h"
#include "base/mem.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void cell_set(struct cell *cell, const char *s, size_t len, uint64_t seq)
{
    if (len >= cell->room) {
        size_t room = (len + 16) & ~(size_t)15; /* len < room: the NUL fits */
        cell->s = x_realloc(cell->s, room);
        cell->room = (uint16_t)room;
    }
    memcpy(cell->s, s, len);
    cell->s[len] = '\0';
    cell->len = (uint16_t)len;
    cell->seq = seq;
}

static bool cell_is(const struct cell *cell, const struct status_text *text)
{
    return cell->s != NULL && cell->len == text->len && memcmp(cell->s, text->s, text->len) == 0;
}

static uint64_t print_bytes(uint64_t print, const void *p, size_t len) /* FNV-1a */
{
    for (const unsigned char *s = p, *end = s + len; s < end; s++)
        print = (print ^ *s) * 1099511628211u;
    return print;
}

static void set_ota(struct entry *entry, const struct status_ota *ota)
{
    int32_t numbers[3] = {ota->update_id, (int32_t)ota->state, ota->progress};
    uint64_t print = print_bytes(14695981039346656037u, numbers, sizeof(numbers));
    if (ota->error.s != NULL)
        print = print_bytes(print, ota->error.s, ota->error.len);
    /* What the device runs decides what its word is worth: the same word with another version is news. */
    print = print_bytes(print, entry->version.s, entry->version.len);
    print = print_bytes(print, entry->elf_sha256.s, entry->elf_sha256.len);
    print |= 1; /* never 0 */
    struct entry_ota *mine = &entry->ota;
    mine->again = entry->seq;
    if (mine->print == print)
        return;
    mine->seq = entry->seq;
    mine->print = print;
    mine->update_id = ota->update_id;
    mine->state = ota->state;
    mine->progress = ota->progress;
    free(mine->error);
    mine->error = ota->error.s == NULL ? NULL : x_memdup(ota->error.s, ota->error.len);
}

/* Devices send their fields in the same order each time: `hint` is where the last one stood. */
static struct sample *find_sample(const struct entry *entry, const struct flatjson_field *field,
                                  unsigned *hint)
{
    for (unsigned i = 0; i < entry->samples; i++) {
        unsigned at = *hint + i < entry->samples ? *hint + i : *hint + i - entry->samples;
        struct sample *sample = entry->sample[at];
        if (sample->name_len == field->name_len && memcmp(sample->name, field->name, field->name_len) == 0) {
            *hint = at + 1 < entry->samples ? at + 1 : 0;
            return sample;
        }
    }
    return NULL;
}

/* 0: all it holds is written; 1: but for its share of the open window; 2: its newest value is not. */
static int unwritten(const struct entry *entry, const struct sample *sample)
{
    return entry_pending(entry, sample->value.seq) ? 2 : sample->count > 0;
}

/* The place of what there is least to lose of, of those the one told least recently. */
static struct sample **find_oldest(const struct entry *entry)
{
    struct sample **oldest = &entry->sample[0];
    for (unsigned i = 1; i < entry->samples; i++) {
        struct sample *sample = entry->sample[i];
        int less = unwritten(entry, sample) - unwritten(entry, *oldest);
        if (less < 0 || (less == 0 && sample->value.seq < (*oldest)->value.seq))
            oldest = &entry->sample[i];
    }
    return oldest;
}

/* A place for one more: new, or taken from another. Names of one message never take each other's. */
static struct sample **make_place(struct entry *entry, unsigned *surplus)
{
    if (entry->samples >= COALESCE_FIELDS) {
        struct sample **oldest = find_oldest(entry);
        int lost = unwritten(entry, *oldest);
        if (lost == 0 || entry->samples == COALESCE_MOST) {
            *surplus += lost == 2;
            free((*oldest)->value.s);
            free(*oldest);
            return oldest;
        }
    }
    if ((entry->samples & (entry->samples - 1)) == 0) { /* a power of two, or none: full */
        size_t room = entry->samples == 0 ? 1 : entry->samples * 2;
        entry->sample = x_realloc(entry->sample, room * sizeof(*entry->sample));
    }
    return &entry->sample[entry->samples++];
}

/* The clock may step back: then an hour begins anew. */
static bool may_add(struct entry *entry, double at)
{
    if (at - entry->hour >= 3600 || at < entry->hour) {
        entry->hour = at;
        entry->fresh = 0;
    }
    return entry->fresh < COALESCE_NEW;
}

/* NULL: it gets no place. */
static struct sample *add_sample(struct entry *entry, const struct flatjson_field *field, double at,
                                 unsigned *surplus)
{
    if (!may_add(entry, at)) {
        ++*surplus;
        return NULL;
    }
    entry->fresh++;
    struct sample *sample = x_alloc(sizeof(*sample) + field->name_len + 1);
    sample->name_len = field->name_len;
    memcpy(sample->name, field->name, field->name_len);
    *make_place(entry, surplus) = sample;
    return sample;
}

static void observe(struct sample *sample, double number)
{
    if (sample->count == 0 || number < sample->min)
        sample->min = number;
    if (sample->count == 0 || number > sample->max)
        sample->max = number;
    sample->count++;
    sample->sum += number;
}

/* Beyond any measurement: sums and means of such could leave a double's range, where PostgreSQL answers with
 * an error for all the device's history. As the newest value it is kept like any other. */
static bool measurable(double number)
{
    return fabs(number) <= 1e100;
}

static void take_telemetry(struct entry *entry, const struct status *status, double at, double window,
                           unsigned *surplus)
{
    unsigned hint = 0;
    for (size_t i = 0; i < status->count; i++) {
        const struct flatjson_field *field = status->telemetry[i];
        struct sample *sample = find_sample(entry, field, &hint);
        if (sample == NULL)
            sample = add_sample(entry, field, at, surplus);
        if (sample == NULL)
            continue;
        cell_set(&sample->value, field->raw, field->raw_len, entry->seq);
        if (field->kind != FLATJSON_NUMBER || !measurable(field->number))
            continue;
        /* A window that could not be written in time stays open; one that lies ahead, for the clock has been
         * set back since, would stay so for as long. */
        if (entry->window == 0 || entry->window > at)
            entry->window = floor(at / window) * window;
        observe(sample, field->number);
    }
}

enum coalesce_result entry_apply(struct entry *entry, const struct status *status, double at, double window,
                                 unsigned *surplus)
{
    const struct status_text *session = &status->session;
    bool will = !status->online && session->s != NULL;
    bool known = entry_pending(entry, entry->session.seq);
    if (will && known && !cell_is(&entry->session, session))
        return COALESCE_OLD_WILL;

    entry->seq++;
    if (entry->first_at == 0)
        entry->first_at = at;
    if (will && !known) { /* whose session it is, the database knows */
        cell_set(&entry->will, session->s, session->len, entry->seq);
        entry->will_at = at;
        return COALESCE_TAKEN;
    }
    entry->will.seq = 0;
    entry->at = at > entry->at ? at : entry->at; /* the clock may step back */
    entry->at_seq = entry->status_seq = entry->seq;
    entry->online = status->online;
    if (status->online && session->s != NULL)
        cell_set(&entry->session, session->s, session->len, entry->seq);
    if (status->version.s != NULL) {
        if (!cell_is(&entry->version, &status->version))
            entry->version_since = entry->seq;
        cell_set(&entry->version, status->version.s, status->version.len, entry->seq);
    }
    if (status->chip.s != NULL)
        cell_set(&entry->chip, status->chip.s, status->chip.len, entry->seq);
    if (status->elf_sha256[0] != '\0')
        cell_set(&entry->elf_sha256, status->elf_sha256, STATUS_ELF, entry->seq);
    if (status->has_ota)
        set_ota(entry, &status->ota);
    take_telemetry(entry, status, at, window, surplus);
    return COALESCE_TAKEN;
}

void entry_close_window(struct entry *entry)
{
    for (unsigned i = 0; i < entry->samples; i++)
        entry->sample[i]->count = entry->sample[i]->sum = 0;
    entry->window = 0;
}

static void entry_free(struct entry *entry)
{
    for (unsigned i = 0; i < entry->samples; i++) {
        free(entry->sample[i]->value.s);
        free(entry->sample[i]);
    }
    free(entry->sample);
    free(entry->session.s);
    free(entry->version.s);
    free(entry->chip.s);
    free(entry->elf_sha256.s);
    free(entry->will.s);
    free(entry->ota.error);
    free(entry);
}

struct table {
    struct entry **slots; /* a power of two, at most three quarters full */
    size_t size, count, most;
};

enum { FIRST_SIZE = 1024 };

struct table *table_new(size_t most)
{
    struct table *table = x_new(struct table);
    table->most = most;
    table->size = FIRST_SIZE;
    table->slots = x_alloc(table->size * sizeof(*table->slots));
    return table;
}

void table_free(struct table *table)
{
    for (size_t i = 0; i < table->size; i++) {
        if (table->slots[i] != NULL)
            entry_free(table->slots[i]);
    }
    free(table->slots);
    free(table);
}

/* Where the device stands, or would. The workers were picked by the high bits of the same product. */
static struct entry **slot_of(const struct table *table, int32_t device)
{
    size_t mask = table->size - 1;
    uint64_t hash = (uint64_t)(uint32_t)device * 0x9e3779b97f4a7c15u;
    size_t i = (size_t)(hash >> 20) & mask;
    while (table->slots[i] != NULL && table->slots[i]->device != device)
        i = (i + 1) & mask;
    return &table->slots[i];
}

struct entry *table_find(const struct table *table, int32_t device)
{
    return *slot_of(table, device);
}

/* Moves all entries to `size` new slots, less those that may go. */
static size_t rebuild(struct table *table, size_t size, bool (*idle)(const struct entry *entry, void *arg),
                      void *arg)
{
    struct entry **old = table->slots;
    size_t old_size = table->size, evicted = 0;
    table->slots = x_alloc(size * sizeof(*table->slots));
    table->size = size;
    for (size_t i = 0; i < old_size; i++) {
        if (old[i] == NULL)
            continue;
        if (idle != NULL && idle(old[i], arg)) {
            entry_free(old[i]);
            evicted++;
        } else {
            *slot_of(table, old[i]->device) = old[i];
        }
    }
    free(old);
    table->count -= evicted;
    return evicted;
}

struct entry *table_add(struct table *table, int32_t device)
{
    struct entry **slot = slot_of(table, device);
    if (*slot != NULL)
        return *slot;
    if (table->count >= table->most)
        return NULL;
    if ((table->count + 1) * 4 > table->size * 3) {
        rebuild(table, table->size * 2, NULL, NULL);
        slot = slot_of(table, device);
    }
    *slot = x_new(struct entry);
    (*slot)->device = device;
    table->count++;
    return *slot;
}

size_t table_count(const struct table *table)
{
    return table->count;
}

struct entry *table_next(const struct table *table, size_t *cursor)
{
    while (*cursor < table->size) {
        struct entry *entry = table->slots[(*cursor)++];
        if (entry != NULL)
            return entry;
    }
    return NULL;
}

size_t table_evict(struct table *table, bool (*idle)(const struct entry *entry, void *arg), void *arg)
{
    return rebuild(table, table->size, idle, arg);
}
