# What conf/up and tests/run know about this place: directories, ports, which services are ours. Sourced; defines
# variables and small helpers, starts nothing. Expects $root.

var=$(realpath -m -- "${OTAD_VAR:-$root/var}")
build=$(realpath -m -- "${OTAD_BUILD:-$root/build}")
program=$build/otad
up_command=$root/conf/up # as one would type it here
up_command=${up_command#"$PWD"/}
stop_command="$up_command --stop"
[ "$var" = "$root/var" ] || stop_command="OTAD_VAR=$(printf %q "${var#"$PWD"/}") $stop_command"
postgresql_bin=/usr/lib/postgresql/15/bin

http_port=${OTAD_HTTP_PORT:-${PORT:-8080}}
https_port=${OTAD_HTTPS_PORT:-8443}
mqtt_port=${OTAD_MQTT_PORT:-1883}
mqtts_port=${OTAD_MQTTS_PORT:-8883}
mqtt_ws_port=${OTAD_MQTT_WS_PORT:-8083}
pg_port=${OTAD_PG_PORT:-5433}
redis_port=${OTAD_REDIS_PORT:-6380}

say() { # NAME TEXT
    printf '  %-12s %s\n' "$1" "$2" || true
}

die() {
    local name
    name=$(realpath -- "$0")
    printf '%s: %s\n' "${name#"$root"/}" "$*" >&2 || true
    exit 1
}

# Runs a command whose output only matters if it fails.
quietly() { # NAME COMMAND...
    local log=$var/log/$1.log
    if ! "${@:2}" >"$log" 2>&1 </dev/null; then
        show_end "$log"
        die "$1 failed. Everything it said is in $log"
    fi
}

show_end() { # FILE [BYTES]: what stands behind those, its last 15 lines at most
    local end
    end=$(tail -c "+$((${2:-0} + 1))" -- "$1" 2>/dev/null | tail -n 15 | cut -c 1-400)
    [ -z "$end" ] || printf '\n--- the end of %s\n%s\n---\n\n' "$1" "$end" >&2
}

# The first of these variables that is set, or the content of the file that NAME_FILE names.
value_of() { # NAME...
    local name file
    for name in "$@"; do
        file=${name}_FILE
        if [ -n "${!name:-}" ]; then
            printf '%s' "${!name}"
            return
        elif [ -n "${!file:-}" ]; then
            cat -- "${!file}"
            return
        fi
    done
}

port_names=(HTTP HTTPS MQTT MQTTS MQTT_WS PG REDIS)
check_port_numbers() {
    local name variable port
    declare -A whose=()
    for name in "${port_names[@]}"; do
        variable=${name,,}_port
        port=${!variable} variable=OTAD_${name}_PORT
        [ "$variable $port" != "OTAD_HTTPS_PORT 0" ] || continue # no HTTPS
        [[ $port =~ ^[1-9][0-9]{0,4}$ ]] && ((port < 65536)) || die "$variable is no port: $port"
        [ -z "${whose[$port]:-}" ] || die "${whose[$port]} and $variable are the same port: $port"
        whose[$port]=$variable
    done
}

# A service whose address is given is used instead of a private one.
database_url=$(value_of OTAD_DATABASE_URL DATABASE_URL)
redis_url=$(value_of OTAD_REDIS_URL REDIS_URL)
mqtt_url=$(value_of OTAD_MQTT_URL MQTT_URL)
services=()
[ -n "$database_url" ] || services+=(postgresql)
[ -n "$redis_url" ] || services+=(redis)
[ -n "$mqtt_url" ] || services+=(mosquitto)
services+=(otad)

is_root() {
    [ "$(id -u)" = 0 ]
}

as_root() {
    if is_root; then "$@"; else sudo -- "$@"; fi
}

# Writes a file, whole or not at all; the content comes on standard input.
write_whole() { # FILE
    cat >"$1.new" && mv -f -- "$1.new" "$1"
}

# The same, of a file that nobody else may read.
write_secret() { # FILE
    (umask 077 && write_whole "$1")
}

url_encode() { # TEXT, as bytes; keeps /
    local LC_ALL=C i c
    for ((i = 0; i < ${#1}; i++)); do
        c=${1:i:1}
        case $c in
        [A-Za-z0-9/._~-]) printf '%s' "$c" ;;
        *) printf '%%%02X' "'$c" ;;
        esac
    done
}
