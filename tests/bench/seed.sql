-- 100,000 devices of account :user_id; the first 1,000 of them (:first_device ..) may speak MQTT, each with the
-- password 'bench-<id>'. Run once on a database that has no devices of this bench.
insert into devices (user_id, device_code, name, chip, tags, status, firmware_version, elf_sha256, last_seen)
select :user_id, 'bench-' || n, 'Device ' || n, 'esp32',
       jsonb_build_object('site', 'hall-' || n % 50, 'ring', (n % 4)::text),
       case when n % 3 = 0 then 'online' else 'offline' end, '1.2.0',
       encode(sha256(convert_to('image-' || n % 7, 'UTF8')), 'hex'), now() - n * interval '1 second'
from generate_series(1, :devices) n
order by n;

insert into device_credentials (device_id, password_sha256)
select id, sha256(convert_to('bench-' || id, 'UTF8')) from devices
where user_id = :user_id and device_code like 'bench-%' order by id limit :publishers;

vacuum analyze devices, device_credentials;
