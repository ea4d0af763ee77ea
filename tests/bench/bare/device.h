/* The statement that reads a device, and the contract's JSON of its row. */
#pragma once
#include <h2o.h>
#include <libpq-fe.h>

/* $1 int4 device, $2 int4 account, $3 bool sees all. Columns in the order that device_json() expects. */
extern const char device_statement[];

/* `row` is a binary result of the statement with one row; the JSON is allocated in `pool`. */
h2o_iovec_t device_json(h2o_mem_pool_t *pool, const PGresult *row);
