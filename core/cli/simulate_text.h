/* The answer of a simulation (policy/simulate.h) as a person reads it. */
#pragma once
#include "cli/source.h"
#include <jansson.h>

void simulate_print(const struct cli_source *source, json_t *answer);
/* One line: how it ended. */
void simulate_print_end(json_t *answer);
