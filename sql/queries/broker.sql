-- What the broker plugin (plugins/mosquitto) asks. Its build turns this file into a header.

-- name: broker_listen
-- Each rotated or deleted credential is told on this channel; the payload is the device's id.
listen otad_credentials;

-- name: broker_credential
-- $1: device id
select password_sha256 from device_credentials where device_id = $1::int4;

-- name: broker_credentials
-- $1: device ids, as an array; those without a row have no credential any more.
select device_id, password_sha256 from device_credentials where device_id = any($1::int4[]);
