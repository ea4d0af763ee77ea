# Builds otad and its broker plugin into $build. Sourced by conf/up and tests/run.

# A build directory that was configured is left as it is: that is how tests run a sanitized one.
build_otad() {
    local before=$SECONDS cache=$build/CMakeCache.txt
    if [ ! -e "$build/build.ninja" ] || ! grep -qsxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$cache"; then
        quietly configure cmake --fresh -S "$root" -B "$build" -G Ninja -DOTAD_TESTS=OFF
    fi
    [ -x "$program" ] || say build "compiling (once; a minute or two)"
    quietly build cmake --build "$build"
    if grep -q 'no work to do' "$var/log/build.log"; then
        say build "${program#"$PWD"/} is up to date"
    else
        say build "${program#"$PWD"/}, after $((SECONDS - before)) s"
    fi
}
