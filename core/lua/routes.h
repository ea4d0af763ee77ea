/* The routes that scripts declare: checked when loaded, found by path and method. Immutable after loading;
 * owned by a generation. */
#pragma once
#include <h2o.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

enum { ROUTE_PARAMS = 4 };

enum route_who { ROUTE_ANYONE, ROUTE_GUEST, ROUTE_USER, ROUTE_OPERATOR };
enum route_body { ROUTE_NO_BODY, ROUTE_JSON, ROUTE_RAW, ROUTE_MULTIPART };

struct route {
    char *method, *path;
    char *params[ROUTE_PARAMS]; /* names, in order */
    unsigned param_count;
    enum route_who who;
    enum route_body body;
    size_t max_body;                      /* bytes; 0: the configured default */
    int handler, check_body, check_query; /* in the registry; LUA_NOREF: none */
    char *source;                         /* "scripts/routes/devices.lua:12" */
    struct route *next;                   /* same path, other method */
    struct route *refusal;                /* answers 404 where the path holds no id; NULL: it has no :id */
};

struct route_table;

struct route_table *routes_new(void);
void routes_free(struct route_table *table);

/* Takes the list of declarations on top of the stack; raises a Lua error that names file and line for one
 * that is not sound. Protected call only. */
void routes_add(struct route_table *table, lua_State *L, const char *file);

/* NULL: no such path (`allow` empty), or no such method there (`allow` is "GET, HEAD, POST", in *allow of
 * `size` bytes). HEAD finds GET. `values` gets the path's params. `:id` is a positive 32-bit integer, and for
 * anything else there the route's refusal is found; other params match any UTF-8 text without NUL. */
const struct route *routes_find(const struct route_table *table, h2o_iovec_t method, h2o_iovec_t path,
                                h2o_iovec_t values[ROUTE_PARAMS], char *allow, size_t size);

/* Calls `each` for every route. */
void routes_each(const struct route_table *table, void (*each)(void *arg, const struct route *route),
                 void *arg);
