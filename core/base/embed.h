/* Files of core/ that are part of the program: EMBED(name, "policy/check.lua") makes name and name_end, the
 * bytes from one to the other. CMakeLists.txt lists them as what the object depends on. */
#pragma once

#define EMBED(name, path)                                                                                    \
    __asm__(".pushsection .rodata\n" #name ":\n.incbin \"" OTAD_CORE "/" path "\"\n" #name                   \
            "_end:\n.byte 0\n"                                                                               \
            ".popsection\n");                                                                                \
    extern const char name[] __attribute__((visibility("hidden")));                                          \
    extern const char name##_end[] __attribute__((visibility("hidden")))
