#!/bin/sh
# Compiles the portable core for a 32-bit RISC-V ESP32 (C3, C6, H2, ...) with Debian's bare-metal compiler and prints
# its size in bytes: text and data go to flash, bss is the one struct otad_client that the application keeps.
# Fails if a file does not compile, or needs more of a C library than the functions listed below.
set -eu
core=$(cd "$(dirname "$0")/core" && pwd)
prefix=${CROSS:-riscv64-unknown-elf-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

compile() {
  "${prefix}gcc" --specs=picolibc.specs -std=c11 -march=rv32imc -mabi=ilp32 -Os -ffreestanding -ffunction-sections \
    -fdata-sections -fstack-usage -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
    -Wno-unused-parameter -I"$core" -c "$1" -o "$work/$(basename "$1" .c).o"
}

printf '#include "otad_client.h"\nextern struct otad_client the_client;\nstruct otad_client the_client;\n' > "$work/state.c"
for source in "$core"/*.c "$work/state.c"; do
  compile "$source"
done
"${prefix}size" --totals "$work"/*.o | sed "s|$work/||"
printf 'largest stack frame: '
sort -t "$(printf '\t')" -k 2 -n -r "$work"/*.su | head -n 1 | awk -F '\t' '{ sub(/.*:/, "", $1); print $2 " bytes in " $1 }'

needed=$("${prefix}ld" -m elf32lriscv -r -o "$work/all.o" "$work"/*.o && "${prefix}nm" -u "$work/all.o" | awk '{ print $2 }')
for name in $needed; do
  case $name in
  memcpy|memset|memcmp|strlen|strcmp|strncmp|strchr) ;;         # any C library
  otad_sha256_init|otad_sha256_update|otad_sha256_final|otad_ed25519_verify) ;; # the port (otad_port.h)
  __*di3|__*ti3|__clzsi2) ;;                                    # libgcc: 64-bit arithmetic
  *) echo "size.sh: the core must not need $name" >&2; exit 1 ;;
  esac
done
