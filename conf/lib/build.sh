# Builds otad and its broker plugin into $build. Sourced by conf/up and tests/run.

# A build directory that was configured is left as it is: that is how tests run a sanitized one.
build_otad() {
    local before=$SECONDS cache=$build/CMakeCache.txt
    if ! grep -qsxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$cache"; then
        quietly configure cmake --fresh -S "$root" -B "$build" -G Ninja -DOTAD_TESTS=OFF
    fi
    if cmake --build "$build" -- -n 2>/dev/null | grep -q 'no work to do'; then
        say build "${program#"$PWD"/} is up to date"
        return
    fi
    say build "compiling"
    quietly build cmake --build "$build"
    say build "${program#"$PWD"/}, after $((SECONDS - before)) s"
}
