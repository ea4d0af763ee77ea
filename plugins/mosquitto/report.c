#include "report.h"
#include <mosquitto_broker.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

enum { LINES_A_MINUTE = 10 };

uint64_t report_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void report(struct report *kind, int level, const char *format, ...)
{
    char text[512], held[48] = "";
    uint64_t now = report_clock();
    if (now >= kind->minute_ends) {
        if (kind->held_back > 0)
            snprintf(held, sizeof(held), " (%u such lines held back)", kind->held_back);
        *kind = (struct report){.minute_ends = now + 60000};
    }
    if (kind->lines == LINES_A_MINUTE) {
        kind->held_back++;
        return;
    }
    kind->lines++;

    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    for (char *s = text; *s != '\0'; s++) { /* libraries end their messages with newlines */
        if ((unsigned char)*s < 0x20)
            *s = ' ';
    }
    mosquitto_log_printf(level, "otad: %s%s", text, held);
}
