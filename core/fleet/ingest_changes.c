/* Hands committed changes to the hook: in order, a bounded number at a time, one at a time for a device. What
 * changes again while it waits is handed over as it is then, but only what the database holds: an OTA block
 * or a version that is newer than the last commit waits for the next. */
#include "base/mem.h"
#include "fleet/ingest_private.h"
#include <stdlib.h>
#include <string.h>

enum { MOST_HANDING = 256, REPEAT = 30000 /* ms */ };

bool ingest_changes_ota_due(const struct entry *entry)
{
    const struct entry_ota *ota = &entry->ota;
    return ota->print != 0 && entry_pending(entry, ota->again) &&
           (ota->print != entry->told || clock_ms() >= entry->told_at + REPEAT);
}

static void append(struct ingest *ingest, struct handover *handover)
{
    *ingest->changes.last = handover;
    ingest->changes.last = &handover->next;
}

static void handover_free(struct handover *handover)
{
    free(handover->version);
    free(handover->error);
    free(handover);
}

/* What the entry owes and the database holds. */
static void fill(struct handover *handover, struct entry *entry)
{
    struct ingest_change *change = &handover->change;
    uint64_t standing = entry->committed;
    change->what = entry->owed;
    if (entry->version.s == NULL || entry->version_since > standing)
        change->what &= ~(unsigned)INGEST_VERSION;
    if (entry->ota.seq > standing)
        change->what &= ~(unsigned)INGEST_OTA;
    entry->owed &= ~change->what;

    change->online = entry->shown_online;
    if (entry->version.s != NULL)
        change->firmware_version = handover->version = x_strdup(entry->version.s);
    if (change->what & INGEST_OTA) {
        change->ota.update_id = entry->ota.update_id;
        change->ota.state = status_ota_names[entry->ota.state];
        change->ota.progress = entry->ota.progress;
        if (entry->ota.error != NULL)
            change->ota.error = handover->error = x_strdup(entry->ota.error);
        entry->told = entry->ota.print;
        entry->told_at = clock_ms();
    }
}

/* A hook that answers from within must not nest a pump for each change that waits. */
void ingest_changes_pump(struct ingest *ingest)
{
    if (ingest->changes.pumping)
        return;
    ingest->changes.pumping = true;
    while (ingest->changes.first != NULL && ingest->changes.handing < MOST_HANDING) {
        struct handover *handover = ingest->changes.first;
        struct entry *entry = handover->entry;
        ingest->changes.first = handover->next;
        if (ingest->changes.first == NULL)
            ingest->changes.last = &ingest->changes.first;
        if (entry != NULL) {
            entry->queued = false;
            fill(handover, entry);
            if (handover->change.what == 0) { /* its next commit brings it back */
                handover_free(handover);
                continue;
            }
            entry->handing = true;
        }
        ingest->changes.handing++;
        ingest->options.on_change(ingest->options.arg, &handover->change);
    }
    ingest->changes.pumping = false;
}

static void enqueue(struct ingest *ingest, struct entry *entry)
{
    struct handover *handover = x_new(struct handover);
    handover->ingest = ingest;
    handover->entry = entry;
    handover->change.device = entry->device;
    entry->queued = true;
    append(ingest, handover);
}

void ingest_changes_owe(struct ingest *ingest, struct entry *entry, unsigned owed)
{
    if (ingest->options.on_change == NULL)
        return;
    entry->owed |= owed;
    if (entry->owed != 0 && !entry->queued && !entry->handing)
        enqueue(ingest, entry);
}

void ingest_changes_retry(struct ingest *ingest)
{
    size_t cursor = 0;
    for (struct entry *entry; (entry = table_next(ingest->table, &cursor)) != NULL;)
        ingest_changes_owe(ingest, entry, 0);
    ingest_changes_pump(ingest);
}

void ingest_change_done(struct ingest_change *change, bool ok)
{
    struct handover *handover = (struct handover *)change;
    struct ingest *ingest = handover->ingest;
    struct entry *entry = handover->entry;
    ingest->changes.handing--;
    if (entry != NULL) {
        bool more = entry->owed != 0; /* came meanwhile */
        entry->handing = false;
        if (!ok) {
            entry->owed |= change->what;
            if (change->what & INGEST_OTA)
                entry->told = 0;
        }
        if (more)
            enqueue(ingest, entry);
    }
    handover_free(handover);
    ingest_changes_pump(ingest);
}

void ingest_swept(struct ingest *ingest, int32_t device, int32_t owner)
{
    ingest_news_swept(ingest, device, owner);
    if (ingest->options.on_change == NULL)
        return;
    struct handover *handover = x_new(struct handover);
    handover->ingest = ingest;
    handover->change.device = device;
    handover->change.what = INGEST_ONLINE;
    append(ingest, handover);
    ingest_changes_pump(ingest);
}

void ingest_changes_free(struct ingest *ingest)
{
    while (ingest->changes.first != NULL) {
        struct handover *handover = ingest->changes.first;
        ingest->changes.first = handover->next;
        handover_free(handover);
    }
}
