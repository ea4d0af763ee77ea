# Secrets and certificates of a development system, made once and kept under $var. Sourced by conf/up.
# Every key is readable by its owner only and written whole or not at all. In production none of this is used:
# certificates come from a CA, and the release key stays off the server.

random_base64url() { # BYTES
    head -c "$1" /dev/urandom | base64 -w 0 | tr '+/' '-_' | tr -d '='
}

make_keys() {
    local keys=$var/keys name
    [ -s "$keys/jwt.key" ] || head -c 32 /dev/urandom | write_secret "$keys/jwt.key"
    for name in mqtt.password postgresql.password redis.password; do
        [ -s "$keys/$name" ] || random_base64url 32 | write_secret "$keys/$name"
    done
    for name in manifest release-dev; do
        [ -s "$keys/$name.pub" ] || make_signing_key "$keys/$name"
    done
}

# The .pub comes last: where it is, the pair is whole.
make_signing_key() { # NAME
    rm -f -- "$1".new.key "$1".new.pub
    quietly keygen "$program" keygen --out "$1.new"
    mv -f -- "$1.new.key" "$1.key"
    mv -f -- "$1.new.pub" "$1.pub"
}

# Addresses of the private services, for otad and its command line; they hold passwords.
write_addresses() {
    local keys=$var/keys
    if [ -z "$database_url" ]; then
        printf '127.0.0.1:%s:otad:otad:%s\n' "$pg_port" "$(<"$keys/postgresql.password")" |
            write_secret "$keys/pgpass"
        database_url="postgresql://otad@127.0.0.1:$pg_port/otad?passfile=$(url_encode "$keys/pgpass")"
    fi
    if [ -z "$redis_url" ]; then
        redis_url="redis://:$(<"$keys/redis.password")@127.0.0.1:$redis_port"
    fi
    printf '%s\n' "$database_url" | write_secret "$keys/database.url"
    printf '%s\n' "$redis_url" | write_secret "$keys/redis.url"
}

# What the server certificate is good for: this machine under every name and address it has.
subject_names() {
    local host address
    host=$(hostname)
    {
        printf 'DNS:localhost\nDNS:%s\nIP:127.0.0.1\nIP:::1\n' "$host"
        for address in $(hostname -I 2>/dev/null); do
            printf 'IP:%s\n' "${address%%%*}"
        done
        address=$(public_host)
        case $address in
        '' | localhost) ;;
        *:* | *[0-9].[0-9]*.[0-9]*.[0-9]*) printf 'IP:%s\n' "$address" ;;
        *) printf 'DNS:%s\n' "$address" ;;
        esac
    } | awk '!seen[$0]++' | paste -s -d ,
}

public_host() { # of OTAD_PUBLIC_URL, without brackets and port
    local host=${OTAD_PUBLIC_URL:-}
    host=${host#*://}
    host=${host%%/*}
    case $host in
    \[*) host=${host#\[} host=${host%%\]*} ;;
    *) host=${host%%:*} ;;
    esac
    printf '%s' "$host"
}

make_certificates() {
    local certs=$var/certs names
    if [ ! -s "$certs/ca.pem" ] || ! openssl x509 -in "$certs/ca.pem" -noout -checkend 2592000 >/dev/null; then
        quietly certificates make_ca "$certs"
    fi
    names=$(subject_names)
    if [ "$(cat "$certs/names" 2>/dev/null)" != "$names" ] ||
        ! openssl x509 -in "$certs/server.pem" -noout -checkend 2592000 >/dev/null ||
        ! openssl verify -CAfile "$certs/ca.pem" "$certs/server.pem" >/dev/null 2>&1; then
        quietly certificates make_server_certificate "$certs" "$names"
        printf '%s\n' "$names" >"$certs/names"
    fi
}

# Both are P-256: every ESP32 has hardware or time for it.
make_ca() ( # DIRECTORY
    umask 077
    cd "$1" && rm -f names || exit 1
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -days 3650 \
        -subj "/CN=otad development CA" -addext basicConstraints=critical,CA:TRUE,pathlen:0 \
        -addext keyUsage=critical,keyCertSign,cRLSign -keyout ca.key -out ca.pem || exit 1
    chmod 644 ca.pem
)

make_server_certificate() ( # DIRECTORY NAMES
    umask 077
    cd "$1" && rm -f names || exit 1
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=localhost" \
        -keyout server.key -out server.csr &&
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -set_serial "0x$(openssl rand -hex 16)" -sha256 \
            -days 397 -out server.pem -extfile <(printf '%s\n' "subjectAltName=$2" basicConstraints=critical,CA:FALSE \
                keyUsage=critical,digitalSignature extendedKeyUsage=serverAuth authorityKeyIdentifier=keyid) || exit 1
    rm -f server.csr
    chmod 644 server.pem
)
