# Starts the services in order, starts them again when they end by themselves, stops them in the opposite order.
# Sourced by conf/up. State, all under $var/run:
#   lock        held (flock) by conf/up and, inherited, by every service: free means that nothing is left running
#   up.pid      of conf/up; NAME.pid of a running service
#   ready       exists while otad has answered /readyz with 200
#   NAME.down   a wish: the service is to stay stopped (conf/up --service NAME stop); SIGUSR1 says look again

declare -A pids=() started=() delay=() not_before=() said=() # said: bytes of the log from before the start
declare -A stop_signals=([postgresql]=INT [redis]=TERM [mosquitto]=TERM [otad]=TERM)
declare -A patience=([postgresql]=20 [redis]=5 [mosquitto]=5 [otad]=40) # seconds to end before KILL
ending="" hurry="" detached=""

# A moment of waiting, without a process for it: nobody ever writes there.
exec {silence}<> <(:)
pause() {
    read -rt 0.05 -u "$silence" || true
}

alive() { # PID
    kill -0 "$1" 2>/dev/null
}

# The conf/up that runs from $var, if there is one.
running_pid() {
    local pid
    pid=$(cat "$var/run/up.pid" 2>/dev/null) || return 1
    [ -n "$pid" ] && tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -q 'conf/up' && printf '%s' "$pid"
}

# Two of them must not share one $var.
refuse_second() {
    local pid
    ! pid=$(running_pid) || die "otad already runs from $var (process $pid). To end it: $stop_command
    To run a second copy beside it, give that one a directory and ports of its own:
    OTAD_VAR=var2 OTAD_HTTP_PORT=8081 OTAD_HTTPS_PORT=8444 OTAD_MQTT_PORT=1884 OTAD_MQTTS_PORT=8884 \\
    OTAD_MQTT_WS_PORT=8084 OTAD_PG_PORT=5434 OTAD_REDIS_PORT=6381 $up_command"
}

# Services of a conf/up that was killed may take a moment to end.
take_lock() {
    exec {lock}<>"$var/run/lock"
    flock -n "$lock" && return
    refuse_second
    say waiting "for services of an earlier run to end"
    flock -w 60 "$lock" || die "processes of an earlier run still hold $var/run/lock"
}

check_ports() {
    local entry name port variable
    local wanted=("HTTP $http_port OTAD_HTTP_PORT" "HTTPS $https_port OTAD_HTTPS_PORT")
    [[ " ${services[*]} " != *" mosquitto "* ]] || wanted+=("MQTT $mqtt_port OTAD_MQTT_PORT"
        "MQTTS $mqtts_port OTAD_MQTTS_PORT" "WebSocket $mqtt_ws_port OTAD_MQTT_WS_PORT")
    [[ " ${services[*]} " != *" postgresql "* ]] || wanted+=("PostgreSQL $pg_port OTAD_PG_PORT")
    [[ " ${services[*]} " != *" redis "* ]] || wanted+=("Redis $redis_port OTAD_REDIS_PORT")
    for entry in "${wanted[@]}"; do
        read -r name port variable <<<"$entry"
        ! port_open "$port" || die "port $port ($name) is taken$(port_owner "$port").
    End that, or choose another port: $variable=$((port + 1)) $up_command"
    done
}

port_owner() { # PORT
    command -v ss >/dev/null || return 0
    ss -Hltnp "sport = :$1" | sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/ by \1 (process \2)/p' | head -n 1
}

launch() { # NAME
    local log=$var/log/$1.log
    if [ "$(stat -c %s "$log" 2>/dev/null || echo 0)" -gt 33554432 ]; then
        mv -f -- "$log" "$log.1"
    fi
    said[$1]=$(stat -c %s "$log" 2>/dev/null || echo 0)
    "run_$1" </dev/null >>"$log" 2>&1 {silence}>&- &
    pids[$1]=$!
    started[$1]=$SECONDS
    write_whole "$var/run/$1.pid" <<<"${pids[$1]}"
}

# The first start: what does not come up then is an error, not something to try again.
start_first() { # NAME SECONDS
    local i
    launch "$1"
    for ((i = 0; i < $2 * 20; i++)); do
        [ -z "$ending" ] || exit 0
        if ! alive "${pids[$1]}"; then
            show_end "$var/log/$1.log" "${said[$1]}"
            die "$1 did not start. Its log is $var/log/$1.log"
        fi
        "ready_$1" && return
        pause
    done
    show_end "$var/log/$1.log" "${said[$1]}"
    [ "$1" != otad ] || ! [ -s "$var/run/readyz" ] || printf '/readyz says: %s\n' "$(<"$var/run/readyz")" >&2
    die "$1 is not ready after $2 s. Its log is $var/log/$1.log"
}

stop_service() { # NAME
    local pid=${pids[$1]:-} i
    unset "pids[$1]"
    if [ -n "$pid" ] && alive "$pid"; then
        kill -s "${stop_signals[$1]}" "$pid" 2>/dev/null || true
        for ((i = 0; i < ${patience[$1]} * 20; i++)); do
            if ! alive "$pid" || [ -n "$hurry" ]; then break; fi
            pause
        done
        kill -s KILL -- "-$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    fi
    rm -f -- "$var/run/$1.pid"
}

stop_all() {
    local i
    trap 'hurry=yes' INT TERM
    trap '' HUP USR1
    rm -f -- "$var/run/ready"
    for ((i = ${#services[@]} - 1; i >= 0; i--)); do
        stop_service "${services[i]}"
    done
    rm -f -- "$var"/run/*.pid "$var"/run/*.down
}

# Makes what runs what should run.
reconcile() {
    local name status wait_s
    for name in "${services[@]}"; do
        if [ -e "$var/run/$name.down" ]; then
            stop_service "$name"
            continue
        fi
        if [ -n "${pids[$name]:-}" ] && ! alive "${pids[$name]}"; then
            status=0
            wait "${pids[$name]}" 2>/dev/null || status=$?
            unset "pids[$name]"
            rm -f -- "$var/run/$name.pid"
            # At once, but slower and slower where it does not hold.
            ((SECONDS - started[$name] < 3)) || delay[$name]=0
            wait_s=${delay[$name]:-0}
            not_before[$name]=$((SECONDS + wait_s))
            delay[$name]=$((wait_s == 0 ? 1 : wait_s < 8 ? wait_s * 2 : 8))
            say "$name" "ended ($(reason "$status")), starting it again; its log is $var/log/$name.log"
        fi
        if [ -z "${pids[$name]:-}" ] && ((SECONDS >= ${not_before[$name]:-0})); then
            launch "$name"
        fi
    done
}

reason() { # STATUS
    if (($1 > 128)); then printf 'signal %s' "$(kill -l $(($1 - 128)))"; else printf 'status %s' "$1"; fi
}

# Returns when it is told to end. A child's end and a signal both wake `wait`; the tick is for all that is missed.
watch_over() {
    local tick=""
    while [ -z "$ending" ]; do
        reconcile
        if [ -z "$tick" ] || ! alive "$tick"; then
            sleep 1 {lock}>&- {silence}>&- &
            tick=$!
        fi
        wait -n 2>/dev/null || true
    done
}
