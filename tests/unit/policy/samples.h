/* A policy, and what it is asked about, as the server would word it. */
#pragma once
#include "policy/policy.h"
#include <string.h>

#define TEXT(s) ((struct policy_text){(s), strlen(s)})

static const char canary[] =
    "return {\n"
    "  stages = {\n"
    "    { name = 'canary', share = 0.01, soak = '30m' },\n"
    "    { name = 'early',  share = 0.10, soak = '2h' },\n"
    "    { name = 'half',   share = 0.50, soak = '6h' },\n"
    "    { name = 'all',    share = 1.00 },\n"
    "  },\n"
    "  rate        = { per_minute = 600, growth = 1.5 },\n"
    "  concurrency = 500,\n"
    "  timeout     = '15m',\n"
    "  retry       = { max = 2, after = '10m' },\n"
    "\n"
    "  admit = function(device, rollout, ctx)\n"
    "    if (device.telemetry.battery or 100) < 30 then return 'hold', 'battery below 30 %' end\n"
    "    return 'offer'\n"
    "  end,\n"
    "\n"
    "  advance = function(rollout, stats, ctx)\n"
    "    if stats.ended >= 20 and stats.failure_low > 0.05 then return 'pause', 'failures above 5 %' end\n"
    "    if stats.stage_done and stats.stage_age >= rollout.soak then return 'advance' end\n"
    "    return 'hold'\n"
    "  end,\n"
    "}\n";

static const char device_json[] =
    "{\"id\": 4711, \"device_code\": \"esp32-a1b2c3d4e5f6\", \"chip\": \"esp32s3\", \"firmware_version\": "
    "\"1.4.2\", "
    "\"tags\": {\"site\": \"hamburg\", \"ring\": \"early\", \"timezone\": \"Europe/Berlin\"}, \"online\": "
    "true, "
    "\"silent_for\": 12.4, \"telemetry\": {\"battery\": 83, \"rssi\": -61, \"free_heap\": 183244, "
    "\"uptime\": 86412, "
    "\"temperature\": 41.5, \"charging\": false, \"reset_reason\": \"power_on\"}, \"attempts\": 0}";
static const char rollout_json[] = "{\"id\": 3, \"name\": \"1.5.0 for all\", \"firmware\": {\"version\": "
                                   "\"1.5.0\", \"chip\": \"esp32s3\", \"size\": 1048576}, "
                                   "\"stage\": \"early\", \"soak\": 7200, \"params\": {}, \"age\": 4000.5}";
static const char stats_json[] = "{\"targeted\": 10000, \"offered\": 1000, \"under_way\": 12, \"ended\": "
                                 "988, \"succeeded\": 980, \"failed\": 8, "
                                 "\"vanished\": 1, \"failure_rate\": 0.0081, \"failure_low\": 0.0041, "
                                 "\"failure_high\": 0.0159, \"stage_age\": 9000, "
                                 "\"stage_done\": true, \"control\": {\"devices\": 9000, \"vanished\": 9}}";
