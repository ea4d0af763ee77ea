# Builds the web console (plugins/console) into its dist/, from where otad serves it. Sourced by conf/up and tests/run.
# It needs Node and its packages. Where those cannot be had, otad starts with the console built before, if any: build_console
# says why, and returns 1.

console=$root/plugins/console
node_version=22.23.3 npm_version=10.9.4 # what is fetched where there is none, or an older one than Angular takes
node_place=$root/var/node

build_console() {
    [ "${OTAD_CONSOLE:-}" != off ] && [ -e "$console/package.json" ] || return 0
    if console_is_built; then
        say console "${console#"$PWD"/}/dist is up to date"
        return
    fi
    local before=$SECONDS status=0
    exec 8<"$console"
    flock 8
    # npm itself would go on asking a registry that is away for minutes.
    export npm_config_fetch_retry_mintimeout=1000 npm_config_fetch_retry_maxtimeout=5000
    (exec 8<&- && find_node && install_node_modules && compile_console) || status=1
    exec 8<&-
    [ $status != 0 ] || say console "${console#"$PWD"/}/dist, after $((SECONDS - before)) s"
    return $status
}

# Whether nothing changed since the last build began. What is deleted changes its directory.
console_is_built() {
    local stamp=$console/dist/.built
    [ -e "$stamp" ] && [ -z "$(find "$console" -mindepth 1 \
        \( -name node_modules -o -name dist -o -name .angular -o -name coverage -o -name test-results \) -prune -o \
        -newer "$stamp" ! -name '*.md' -print -quit)" ]
}

# As `quietly` of settings.sh, but what fails is told and is not the end.
console_step() { # TEXT COMMAND...
    local log=$var/log/console.log
    "${@:2}" >"$log" 2>&1 </dev/null && return
    show_end "$log"
    say console "$1; otad starts all the same. Everything it said is in ${log#"$PWD"/}"
    return 1
}

# Puts into PATH, until the build is over, a Node that Angular 21 takes. Debian 12 has an older one, enough to run its npm,
# which fetches a newer. Debian's npm is left alone where another Node came with its own.
find_node() {
    node_is_fit && command -v npm >/dev/null && return
    local machine packages=$node_place/node_modules
    case $(uname -m) in
    x86_64) machine=x64 ;;
    aarch64) machine=arm64 ;;
    *)
        say console "there is no Node 20.19 here, nor one to fetch for $(uname -m); otad starts all the same"
        return 1
        ;;
    esac
    PATH=$packages/.bin:$packages/node-linux-$machine/bin:$PATH
    [ "$(node --version 2>&1)" != "v$node_version" ] || [ ! -x "$packages/.bin/npm" ] || return 0
    if ! command -v npm >/dev/null; then
        (console_packages) || return 1
    fi
    say console "fetching Node $node_version (once)"
    mkdir -p -- "$node_place"
    console_step "npm does not get Node" npm install --prefix "$node_place" --no-save --ignore-scripts --no-audit \
        --no-fund "node-linux-$machine@$node_version" "npm@$npm_version"
}

console_packages() {
    printf 'nodejs\nnpm\n' >"$var/run/console-packages"
    install_packages "$var/run/console-packages"
}

node_is_fit() {
    local major minor
    IFS=. read -r major minor _ < <(node --version 2>/dev/null) || return 1
    major=${major#v}
    [ "$major" -ge 24 ] || { [ "$major" = 22 ] && [ "$minor" -ge 12 ]; } || { [ "$major" = 20 ] && [ "$minor" -ge 19 ]; }
}

install_node_modules() {
    cmp -s "$console/package-lock.json" "$console/node_modules/.installed" && return
    say console "fetching its Node packages (once; a minute or two)"
    console_step "its packages cannot be had" in_console npm ci --no-audit --no-fund &&
        mkdir -p -- "$console/node_modules" && cp -- "$console/package-lock.json" "$console/node_modules/.installed"
}

compile_console() {
    local began=$console/node_modules/.began
    say console "compiling"
    touch "$began"
    console_step "it does not compile" in_console npm run build && mv -f -- "$began" "$console/dist/.built"
}

in_console() { # COMMAND...
    (cd "$console" && NG_CLI_ANALYTICS=false "$@")
}
