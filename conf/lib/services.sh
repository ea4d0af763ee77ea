# The services conf/up runs: for each, prepare_NAME makes its directory and configuration, run_NAME becomes the
# process, ready_NAME tells whether it answers. Sourced by conf/up.
#
# All are children of conf/up, each in a session of its own (Ctrl-C reaches conf/up alone, which ends them in good
# order), with a death signal for the case that conf/up is killed. What root starts runs as root, but for
# PostgreSQL, which refuses that. No secret stands in an argument: arguments are everybody's to read.

# Becomes COMMAND, which gets SIGNAL when conf/up dies.
become() { # SIGNAL ACCOUNT-OR-EMPTY COMMAND...
    local account=()
    [ -z "$2" ] || account=(--reuid "$2" --regid "$2" --init-groups)
    exec env --default-signal setsid setpriv --pdeathsig "$1" "${account[@]}" -- "${@:3}"
}

port_open() { # PORT
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

render() { # TEMPLATE NAME=VALUE...: replaces each @NAME@
    local text pair
    text=$(<"$1")
    for pair in "${@:2}"; do
        text=${text//"@${pair%%=*}@"/"${pair#*=}"}
    done
    printf '%s\n' "$text"
}

# --- PostgreSQL: role and database `otad`, reached by password on the loopback port and in no other way.

postgresql_account() {
    ! is_root || printf postgres
}

# As the account that runs PostgreSQL, waiting for the end.
as_postgresql() {
    if is_root; then
        (cd / && setpriv --reuid postgres --regid postgres --init-groups -- "$@")
    else
        "$@"
    fi
}

# Root's tree may stand where PostgreSQL's account cannot get to (/root); its data then go to /var/lib.
postgresql_place() {
    local link=$var/postgresql place
    if ! is_root || as_postgresql test -x "$var"; then
        mkdir -p -- "$link"
    elif [ ! -e "$link" ]; then
        place=/var/lib/otad/$(printf '%s' "$var" | sha256sum | cut -c 1-16)
        rm -rf -- "$place"
        mkdir -p -- "$place"
        ln -sfn -- "$place" "$link"
    fi
    chmod 755 "$link/"
}

prepare_postgresql() {
    [ -x "$postgresql_bin/initdb" ] || die "PostgreSQL 15 is not in $postgresql_bin"
    postgresql_place
    local place
    place=$(realpath -- "$var/postgresql")
    if [ ! -e "$place/data/otad.conf" ]; then
        say PostgreSQL "making a database in ${place#"$PWD"/}"
        rm -rf -- "$place/data" "$place/data.new"
        if is_root; then chown postgres: "$place"; fi
        quietly initdb make_cluster "$place/data.new"
        mv -- "$place/data.new" "$place/data"
    fi
}

# Only the cluster's owner on this machine is superuser, and only while the server is stopped (single-user mode).
make_cluster() { # DIRECTORY
    as_postgresql "$postgresql_bin/initdb" -D "$1" -U postgres -E UTF8 --locale=C.UTF-8 --auth=reject -N &&
        as_postgresql tee "$1/pg_hba.conf" <<<"host otad otad 127.0.0.1/32 scram-sha-256" &&
        as_postgresql tee -a "$1/postgresql.conf" <<<"include 'otad.conf'" &&
        as_postgresql tee "$1/otad.conf" <<'CONF' &&
# Written by conf/up.
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
max_wal_size = 512MB
log_line_prefix = '%m [%p] '
log_timezone = 'UTC'
timezone = 'UTC'
CONF
        printf "create role otad login password '%s'\ncreate database otad owner otad\n" \
            "$(<"$var/keys/postgresql.password")" |
        as_postgresql "$postgresql_bin/postgres" --single -D "$1" postgres
}

run_postgresql() {
    cd /
    become INT "$(postgresql_account)" "$postgresql_bin/postgres" -D "$(realpath -- "$var/postgresql")/data" \
        -p "$pg_port"
}

ready_postgresql() {
    "$postgresql_bin/pg_isready" -q -h 127.0.0.1 -p "$pg_port"
}

# --- Redis: a cache that may forget; PostgreSQL is the authority for all it holds. Nothing is kept on disk.

prepare_redis() {
    write_secret "$var/run/redis.conf" <<CONF
bind 127.0.0.1
port $redis_port
requirepass $(<"$var/keys/redis.password")
maxmemory 64mb
maxmemory-policy allkeys-lru
save ""
appendonly no
CONF
}

run_redis() {
    cd "$var/run"
    become TERM "" redis-server - <redis.conf
}

ready_redis() {
    port_open "$redis_port"
}

# --- Mosquitto, with the plugin that lets each device in to its own topics.

prepare_mosquitto() {
    mkdir -p -m 700 -- "$var/mosquitto"
    render "$root/conf/mosquitto.conf" "MQTT_PORT=$mqtt_port" "MQTTS_PORT=$mqtts_port" "MQTT_WS_PORT=$mqtt_ws_port" \
        MQTT_DEV_ADDRESS=127.0.0.1 "MQTT_USER=$(id -un)" "MQTT_DATA=$var/mosquitto/" \
        "TLS_CERT=$var/certs/server.pem" "TLS_KEY=$var/certs/server.key" "AUTH_PLUGIN=$build/otad_auth.so" \
        "DATABASE_URL=$database_url" "REDIS_URL=$redis_url" "SERVER_PASSWORD_FILE=$var/keys/mqtt.password" |
        sed '/^#/d' | write_secret "$var/run/mosquitto.conf"
}

# A plugin built with AddressSanitizer (tests) wants its library loaded before everything else, and what
# plugins/mosquitto/tests/preload.c mends.
run_mosquitto() {
    local asan
    asan=$(ldd "$build/otad_auth.so" 2>/dev/null | awk '$1 ~ /^libasan/ { print $3 }') || true
    cd "$var/mosquitto"
    [ -z "$asan" ] || export LD_PRELOAD=$asan:$build/otad_auth_preload.so ASAN_OPTIONS="detect_leaks=0:${ASAN_OPTIONS:-}"
    become TERM "" mosquitto -c "$var/run/mosquitto.conf"
}

ready_mosquitto() {
    port_open "$mqtt_port" && port_open "$mqtts_port" && port_open "$mqtt_ws_port"
}

# --- otad itself. Settings of the user's own stand before those made here.

otad_environment() {
    local host
    host=$(public_host)
    export OTAD_VAR=$var OTAD_HTTP_PORT=$http_port OTAD_HTTPS_PORT=$https_port OTAD_MQTT_PORT=$mqtt_port \
        OTAD_MQTTS_PORT=$mqtts_port OTAD_MQTT_WS_PORT=$mqtt_ws_port OTAD_PG_PORT=$pg_port OTAD_REDIS_PORT=$redis_port
    unset PORT OTAD_DATABASE_URL DATABASE_URL OTAD_REDIS_URL REDIS_URL
    export OTAD_DATABASE_URL_FILE=$var/keys/database.url OTAD_REDIS_URL_FILE=$var/keys/redis.url
    [ -n "$mqtt_url" ] || [ -n "${OTAD_MQTT_PASSWORD:-}" ] ||
        export OTAD_MQTT_PASSWORD_FILE=${OTAD_MQTT_PASSWORD_FILE:-$var/keys/mqtt.password}
    export OTAD_MQTT_CA=${OTAD_MQTT_CA:-$var/certs/ca.pem}
    export OTAD_MQTT_PUBLIC_HOST=${OTAD_MQTT_PUBLIC_HOST:-${host:-localhost}}
    export OTAD_HTTPS_CERTIFICATE=${OTAD_HTTPS_CERTIFICATE:-$var/certs/server.pem}
    export OTAD_HTTPS_KEY=${OTAD_HTTPS_KEY:-$var/certs/server.key}
    export OTAD_RELEASE_KEYS=${OTAD_RELEASE_KEYS:-$var/keys/release-dev.pub}
    export OTAD_FIRMWARE_AUTO_SIGN=${OTAD_FIRMWARE_AUTO_SIGN:-true}
}

prepare_otad() {
    mkdir -p -- "$var/firmware"
}

run_otad() {
    cd "$root"
    become TERM "" "$program" serve
}

ready_otad() {
    [ "$(curl -s -o "$var/run/readyz" -w '%{http_code}' --max-time 2 "http://127.0.0.1:$http_port/readyz")" = 200 ]
}
