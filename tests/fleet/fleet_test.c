/* The parts that only show under much use: timers against sorting, flash against plain memory, MQTT's packets
 * in pieces. */
#include "fleet_flash.h"
#include "fleet_mqtt.h"
#include "sim_timers.h"
#include <setjmp.h> /* cmocka.h wants these before it */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

enum { TIMERS = 300, SLOT = 20 * FLEET_SECTOR };

struct timed {
    struct sim_timer timer;
    uint64_t *last;
    unsigned calls;
};

static void on_due(void *arg)
{
    struct timed *timed = arg;
    assert_true(timed->timer.at >= *timed->last);
    assert_int_equal(timed->timer.place, 0);
    *timed->last = timed->timer.at;
    timed->calls++;
}

static void timers_come_in_order(void **state)
{
    static struct timed timed[TIMERS];
    struct sim_timers timers = {0};
    uint64_t last = 0;
    unsigned set = 0;
    for (unsigned i = 0; i < TIMERS; i++) {
        timed[i] = (struct timed){.timer = {.on_due = on_due, .arg = &timed[i]}, .last = &last};
    }
    for (unsigned i = 0; i < 20 * TIMERS; i++) { /* set, moved and cleared */
        bool clear = randombytes_uniform(4) == 0;
        sim_timers_set(&timers, &timed[randombytes_uniform(TIMERS)].timer,
                       clear ? UINT64_MAX : 1 + randombytes_uniform(1000));
    }
    for (unsigned i = 0; i < TIMERS; i++) {
        set += timed[i].timer.place > 0;
    }
    assert_int_equal(timers.count, set);
    for (uint64_t now = 0; now < 500; now += 7) {
        sim_timers_run(&timers, now);
        assert_true(last <= now);
        assert_true(sim_timers_wait(&timers, now, 5000) > 0);
    }
    sim_timers_run(&timers, 1000);
    assert_int_equal(timers.count, 0);
    assert_int_equal(sim_timers_wait(&timers, 1000, 77), 77);
    for (unsigned i = 0; i < TIMERS; i++) {
        set -= timed[i].calls;
        assert_true(timed[i].calls <= 1);
    }
    assert_int_equal(set, 0);
    sim_timers_free(&timers);
}

struct board {
    struct fleet_sectors *sectors;
    struct fleet_flash flash;
    struct sim_slots slots;
};

static void board_open(struct board *board, struct fleet_sectors *sectors)
{
    board->sectors = sectors;
    fleet_flash_init(&board->flash, sectors, "test", NULL);
    assert_null(sim_slots_open(&board->slots, board->flash.name, SLOT, NULL));
}

static void board_close(struct board *board)
{
    sim_slots_close(&board->slots);
    fleet_flash_free(&board->flash);
}

static void expect(const struct board *board, const uint8_t *model)
{
    static uint8_t found[SLOT];
    assert_int_equal(sim_slots_read(&board->slots, 0, found, SLOT), 0);
    assert_memory_equal(found, model, SLOT);
    uint32_t from = randombytes_uniform(SLOT), len = randombytes_uniform(SLOT - from);
    assert_int_equal(sim_slots_read(&board->slots, from, found, len), 0);
    assert_memory_equal(found, model + from, len);
}

static void flash_is_as_memory(void **state)
{
    static uint8_t model[SLOT], data[3 * FLEET_SECTOR];
    struct board board;
    size_t stored, used;
    board_open(&board, fleet_sectors_new());
    memset(model, 0xFF, SLOT);
    uint32_t len = 0;
    for (int round = 0; round < 200; round++) {
        uint32_t from = randombytes_uniform(len + 1);
        if (round % 3) {
            from -= from % FLEET_SECTOR;
        }
        assert_int_equal(sim_slots_begin(&board.slots, from), 0);
        memset(model + from, 0xFF, SLOT - from);
        for (int piece = 0; piece < 6; piece++) {
            uint32_t more = 1 + randombytes_uniform(sizeof data - 1);
            memset(data, (int)randombytes_uniform(2), sizeof data); /* few different sectors */
            data[randombytes_uniform(more)] = (uint8_t)randombytes_uniform(256);
            assert_int_equal(sim_slots_write(&board.slots, from + 1, data, more), -1); /* not where it ends */
            int32_t code = sim_slots_write(&board.slots, from, data, more);
            assert_int_equal(code, from + more <= SLOT ? 0 : -1);
            if (code == 0) {
                memcpy(model + from, data, more);
                from += more;
            }
            expect(&board, model);
        }
        len = from;
        sim_slots_abandon(&board.slots);
        assert_int_equal(sim_slots_write(&board.slots, len, data, 1), -1);
        expect(&board, model);
    }
    board_close(&board);
    fleet_sectors_count(board.sectors, &stored, &used);
    assert_int_equal(stored, 0);
    assert_int_equal(used, 0);
    fleet_sectors_free(board.sectors);
}

static void equal_sectors_are_one(void **state)
{
    static uint8_t image[SLOT], found[SLOT];
    struct board boards[3];
    size_t stored, used;
    struct fleet_sectors *sectors = fleet_sectors_new();
    randombytes_buf(image, SLOT);
    for (int i = 0; i < 3; i++) {
        board_open(&boards[i], sectors);
        boards[i].flash.worn = i == 2;
        assert_int_equal(sim_slots_begin(&boards[i].slots, 0), 0);
        assert_int_equal(sim_slots_write(&boards[i].slots, 0, image, SLOT), 0);
        sim_slots_abandon(&boards[i].slots);
    }
    fleet_sectors_count(sectors, &stored, &used);
    assert_int_equal(stored, SLOT / FLEET_SECTOR + 1); /* the wrong bit's sector */
    assert_int_equal(used, 3 * SLOT / FLEET_SECTOR);
    unsigned wrong = 0;
    sim_slots_read(&boards[2].slots, 0, found, SLOT);
    for (size_t i = 0; i < SLOT; i++) {
        wrong += (unsigned)__builtin_popcount(found[i] ^ image[i]);
    }
    assert_int_equal(wrong, 1);
    sim_slots_read(&boards[1].slots, 0, found, SLOT);
    assert_memory_equal(found, image, SLOT);
    for (int i = 0; i < 3; i++) {
        board_close(&boards[i]);
    }
    fleet_sectors_free(sectors);
}

static void packets_are_read_when_whole(void **state)
{
    static char text[3000];
    struct fleet_packet packet;
    struct fleet_message message;
    memset(text, 'x', sizeof text - 1);
    for (size_t len = 0; len < sizeof text; len += 117) {
        const char *payload = text + sizeof text - 1 - len;
        fleet_mqtt_publish(&packet, "device/42/ota", payload, 513);
        assert_false(packet.full);
        for (size_t part = 0; part < packet.len; part++) {
            assert_int_equal(fleet_mqtt_read(packet.bytes, part, &message), 0);
        }
        assert_int_equal(fleet_mqtt_read(packet.bytes, packet.len, &message), (long)packet.len);
        assert_int_equal(message.type, FLEET_PUBLISH);
        assert_int_equal(message.id, 513);
        assert_int_equal(message.payload_len, len);
        assert_memory_equal(message.payload, payload, len);
    }
    static char much[FLEET_PACKET_MAX];
    memset(much, 'y', sizeof much - 1);
    fleet_mqtt_publish(&packet, "t", much, 0);
    assert_true(packet.full);
    assert_int_equal(fleet_mqtt_read((const uint8_t[]){0x30, 2, 0, 9}, 4, &message),
                     -1); /* topic past the end */
    assert_int_equal(fleet_mqtt_read((const uint8_t[]){0x30, 255, 255, 255, 255, 1}, 6, &message), -1);
    assert_int_equal(fleet_mqtt_read((const uint8_t[]){0x20, 2, 0, 5}, 4, &message), 4);
    assert_int_equal(message.code, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_come_in_order),
        cmocka_unit_test(flash_is_as_memory),
        cmocka_unit_test(equal_sectors_are_one),
        cmocka_unit_test(packets_are_read_when_whole),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
