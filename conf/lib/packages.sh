# Debian packages: finds what is missing and installs that. Sourced by conf/up and tests/run.

missing_packages() { # FILE...: lists of packages
    local wanted
    wanted=$(sed -e 's/#.*//' -e '/^ *$/d' -- "$@" | sort -u)
    # shellcheck disable=SC2086
    comm -23 <(printf '%s\n' $wanted) <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $wanted 2>/dev/null |
        sed -n 's/^installed //p' | sort -u)
}

install_packages() { # FILE...
    local missing
    mapfile -t missing < <(missing_packages "$@")
    if [ ${#missing[@]} = 0 ]; then
        say packages "all there"
        return
    fi
    if ! is_root && ! command -v sudo >/dev/null; then
        die "these Debian packages are missing, and there is no sudo. As root, type:
    apt-get update && apt-get install --no-install-recommends ${missing[*]}"
    fi
    if ! is_root && ! sudo -n true 2>/dev/null; then
        [ -t 0 ] || die "sudo wants a password to install: ${missing[*]}"
        sudo -v -p "  sudo password of %u, to install Debian packages: " || die "sudo refused"
    fi
    say packages "installing ${#missing[@]} from Debian (once; some minutes)"
    quietly packages apt_install "${missing[@]}"
}

# Debian starts a service when it installs one, on the very ports that private ones want. policy-rc.d keeps it
# from that, and what was not here before is not to start at the next boot either.
apt_install() (
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap 'as_root rm -f $policy' EXIT
        printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
        as_root chmod 755 $policy
    fi
    as_root apt-get update &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -y --no-install-recommends \
            -o DPkg::Lock::Timeout=300 install "$@" || exit 1
    if command -v systemctl >/dev/null; then
        for package in "$@"; do
            case $package in
            postgresql-15) as_root systemctl disable postgresql ;;
            redis-server | mosquitto) as_root systemctl disable "$package" ;;
            esac
        done
    fi
    exit 0
)
