"""What must hold of a fleet, whatever happened to it: the report of otad-fleet against the server's rows.

    problems = fleet_check.problems(report, rows, concurrency=50, per_minute=600)
    fleet_check.check(...)         the same, failing with what is wrong
"""
import collections
import json

UNDER_WAY = {"pending", "offered", "downloading", "installing"}
# What the server calls what the device told; of timed_out and cancelled the device need not know.
TOLD = {"succeeded": "confirmed", "failed": "failed", "rolled_back": "rolled_back", "rejected": "rejected"}
CLOCKS = 0.05  # seconds by which times of the device and of PostgreSQL may differ on one machine

Rows = collections.namedtuple("Rows", "devices updates firmware")


def rows(system, ids=None, rollout=None):
    """Devices, updates and firmware as the database has them, by id. `ids`: of these devices only; rollout: `updates` of
    this one only (then two updates at once, and firmware nobody offered, cannot be told from others')."""
    where = f"where {{}} in ({','.join(map(str, ids))})" if ids else "where {} is not null"
    more = f" and rollout_id = {int(rollout)}" if rollout else ""

    def table(sql):
        return {row["id"]: row for row in map(json.loads, system.psql(sql).splitlines())}

    return Rows(
        table(f"select json_build_object('id', id, 'status', status, 'version', firmware_version, 'elf_sha256', elf_sha256) "
              f"from devices {where.format('id')}"),
        table("select json_build_object('id', id, 'device_id', device_id, 'firmware_id', firmware_id, 'rollout_id', "
              "rollout_id, 'version', version, 'state', state, 'reason', reason, 'created', extract(epoch from created_at), "
              "'taken', extract(epoch from taken_at), 'ended', extract(epoch from updated_at)) "
              f"from updates {where.format('device_id')}{more} order by id"),
        table("select json_build_object('id', id, 'version', version, 'elf_sha256', elf_sha256) from firmware"))


def by_device(updates):
    found = collections.defaultdict(list)
    for update in sorted(updates, key=lambda u: u["id"]):
        found[update["device_id"]].append(update)
    return found


def peak_at_once(updates):
    """The most updates that were under way at one time. One that ends as another begins makes room for it."""
    moments = sorted([(u["created"], 1) for u in updates] +
                     [(u["ended"], -1) for u in updates if u["state"] not in UNDER_WAY])
    now = most = 0
    for _, change in moments:
        now += change
        most = max(most, now)
    return most


def peak_rate(updates, window=60.0):
    """The most updates begun within any `window` seconds."""
    begun, first, most = sorted(u["created"] for u in updates), 0, 0
    for last, at in enumerate(begun):
        while at - begun[first] >= window:
            first += 1
        most = max(most, last - first + 1)
    return most


def belief(device, row):
    """What the server believes of a device against what it runs."""
    if device["connects"] == 0 or row is None:
        return []
    told = []
    if row["elf_sha256"] != device["runs"]["elf_sha256"]:
        told.append(f"device {device['id']} ({device['mode']}) runs {device['runs']}, the server believes {row}")
    elif row["version"] != device["tells"]:
        told.append(f"device {device['id']} tells {device['tells']}, the server believes {row['version']}")
    return told


def outcomes(device, updates, firmware):
    """The end of each update, as the server knows it and as it was; and what was booted for it."""
    diary, told = {u["id"]: u for u in device["updates"]}, []
    for update in updates:
        what = f"update {update['id']} of device {device['id']} ({device['mode']})"
        known = diary.get(update["id"])
        if update["state"] in UNDER_WAY:
            told.append(f"{what} is {update['state']}: not ended")
        elif update["state"] in TOLD and known and known["state"] != TOLD[update["state"]]:
            told.append(f"{what} is {update['state']}, on the device {known['state']} {known['error']}")
        elif update["state"] in TOLD and not known and update["taken"]:
            told.append(f"{what} is {update['state']}, and the device knows nothing of it")
        image = firmware.get(update["firmware_id"])
        if update["state"] == "succeeded" and image and update["taken"] and \
                image["elf_sha256"] not in {boot["elf_sha256"] for boot in device["booted"]}:
            told.append(f"{what} succeeded, and the device never booted that image")
    return told


def two_at_once(device, updates):
    told = []
    for earlier, later in zip(updates, updates[1:]):
        if earlier["state"] in UNDER_WAY or later["created"] < earlier["ended"] - CLOCKS:
            told.append(f"updates {earlier['id']} and {later['id']} of device {device['id']} were under way at once")
    ends = {u["id"]: u for u in updates}
    for update in device["updates"]:
        replaced, row = update["replaced_by"], ends.get(update["id"])
        if replaced and row and row["ended"] > ends[replaced]["created"] + CLOCKS:
            told.append(f"device {device['id']} was given update {replaced} before {update['id']} had ended")
    return told


def not_offered(device, updates, firmware, first):
    """Images it booted that it neither had from the beginning nor was offered before."""
    told = []
    for boot in device["booted"]:
        offered = {firmware[u["firmware_id"]]["elf_sha256"] for u in updates
                   if u["firmware_id"] in firmware and u["created"] <= boot["at"] + CLOCKS}
        if boot["elf_sha256"] != first and boot["elf_sha256"] not in offered:
            told.append(f"device {device['id']} booted {boot}, which nobody had offered it")
    return told


def problems(report, rows, concurrency=None, per_minute=None):
    """A list of sentences; empty: all is well. Updates count as begun when their row was made. per_minute: begun in
    any 60 seconds, so an engine that spends its allowance in steps needs a step more."""
    told, updates = [], by_device(rows.updates.values())
    for device in report["devices"]:
        mine = updates.get(device["id"], [])
        told += belief(device, rows.devices.get(device["id"]))
        told += outcomes(device, mine, rows.firmware)
        told += two_at_once(device, mine)
        told += not_offered(device, mine, rows.firmware, report["first"].get(device["id"]))
    offered = [u for u in rows.updates.values() if u["taken"] or u["state"] != "succeeded"]  # had it already: no offer
    if concurrency is not None and (peak := peak_at_once(offered)) > concurrency:
        told.append(f"{peak} updates were under way at once, {concurrency} were allowed")
    if per_minute is not None and (peak := peak_rate(offered)) > per_minute:
        told.append(f"{peak} updates began within a minute, {per_minute} were allowed")
    return told


def check(report, rows, **caps):
    told = problems(report, rows, **caps)
    assert not told, f"{len(told)} things are wrong:\n" + "\n".join(told[:40])
    return collections.Counter(update["state"] for update in rows.updates.values())
