/* Preloaded after libasan into a program that was not built with it (Mosquitto, for the plugin's sake).
 *
 * libasan starts at the first allocation, takes the lock of message catalogues while it does, and wrecks that
 * lock if the first allocation came from bindtextdomain(), which holds it: the next one waits for ever. This
 * allocates before any other constructor runs; only a library linked with -z initfirst may do so. */
#include <stdlib.h>

__attribute__((constructor)) static void allocate_first(void)
{
    void *volatile memory = malloc(1);
    free(memory);
}
