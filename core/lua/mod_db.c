/* db.one, db.all, db.run and db.begin: named statements. A coroutine waits for its answer; tables are made of
 * it in the continuation, inside the protected resume. */
#include "base/buffer.h"
#include "lua/json.h"
#include "lua/modules.h"
#include <stdlib.h>
#include <string.h>

enum { MOST_VALUES = 32 };

enum shape { SHAPE_ONE, SHAPE_ALL, SHAPE_RUN };

static const char transaction_type[] = "transaction";
static const char rows_key; /* registry: metatables of rows by statement */

struct answer { /* on the stack of the callback that resumes the coroutine */
    const char *err;
    const PGresult *result;
    struct pg_transaction *transaction;
};

struct lease {                          /* userdata of a script's transaction */
    struct pg_transaction *transaction; /* NULL: ended */
};

static void on_result(void *arg, const char *err, const PGresult *result)
{
    struct answer answer = {err, result, NULL};
    coroutine_resume_with(arg, &answer);
}

/* The class 23 states that a script can expect; everything else is an error. */
static const char *constraint_name(const char *state)
{
    return strcmp(state, "23505") == 0   ? "unique_violation"
           : strcmp(state, "23503") == 0 ? "foreign_key_violation"
           : strcmp(state, "23514") == 0 ? "check_violation"
           : strcmp(state, "23502") == 0 ? "not_null_violation"
           : strcmp(state, "23P01") == 0 ? "exclusion_violation"
                                         : NULL;
}

static const char *column_name(const void *result, int i)
{
    return PQfname(result, i);
}

/* Pushes the metatable of rows of this statement. */
static void push_row_metatable(lua_State *L, const struct pg_statement *statement, const PGresult *result)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &rows_key);
    if (lua_rawgetp(L, -1, statement) == LUA_TNIL) {
        lua_pop(L, 1);
        json_push_row_metatable(L, PQnfields(result), column_name, result);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, -3, statement);
    }
    lua_remove(L, -2);
}

/* "2026-01-02 03:04:05.678+00" (UTC, as the session is set) -> "2026-01-02T03:04:05.678Z" */
static void push_time(lua_State *L, const char *text, size_t len)
{
    char copy[48];
    if (len < 20 || len >= sizeof(copy) || strcmp(text + len - 3, "+00") != 0) {
        lua_pushlstring(L, text, len); /* infinity, or before Christ */
        return;
    }
    memcpy(copy, text, len);
    copy[10] = 'T';
    copy[len - 3] = 'Z';
    lua_pushlstring(L, copy, len - 2);
}

static void push_field(lua_State *L, const PGresult *result, int row, int column)
{
    enum {
        BOOL = 16,
        INT8 = 20,
        INT2 = 21,
        INT4 = 23,
        JSON = 114,
        FLOAT4 = 700,
        FLOAT8 = 701,
        TIMESTAMPTZ = 1184,
        NUMERIC = 1700,
        JSONB = 3802
    };
    const char *text = PQgetvalue(result, row, column);
    size_t len = (size_t)PQgetlength(result, row, column);
    char message[160];

    switch (PQftype(result, column)) {
    case BOOL:
        lua_pushboolean(L, *text == 't');
        break;
    case INT2:
    case INT4:
    case INT8:
        lua_pushinteger(L, strtoll(text, NULL, 10));
        break;
    case FLOAT4:
    case FLOAT8:
    case NUMERIC:
        lua_pushnumber(L, strtod(text, NULL));
        break;
    case JSON:
    case JSONB:
        if (len == 2 && text[0] == '{')
            lua_newtable(L);
        else if (!json_read(L, text, len, message, sizeof(message)))
            luaL_error(L, "column %s: %s", PQfname(result, column), message);
        break;
    case TIMESTAMPTZ:
        push_time(L, text, len);
        break;
    default:
        lua_pushlstring(L, text, len);
    }
}

/* Stack: ..., names of the columns' metatable -> row on top of it. */
static void push_row(lua_State *L, const PGresult *result, int row, int metatable)
{
    int columns = PQnfields(result);
    lua_createtable(L, 0, columns);
    for (int i = 0; i < columns; i++) {
        if (PQgetisnull(result, row, i))
            continue;
        push_field(L, result, row, i);
        lua_setfield(L, -2, PQfname(result, i));
    }
    lua_pushvalue(L, metatable);
    lua_setmetatable(L, -2);
}

static int raise_failure(lua_State *L, const struct answer *answer, const struct pg_statement *statement)
{
    if (answer->err != pg_failed)
        return fail_raise(L, 503,
                          answer->err == pg_unavailable ? "The database does not answer."
                                                        : "The database is too busy.");
    const char *state = PQresultErrorField(answer->result, PG_DIAG_SQLSTATE);
    const char *constraint = state == NULL ? NULL : constraint_name(state);
    if (constraint == NULL)
        return luaL_error(L, "statement %s failed: %s", statement->name,
                          PQresultErrorField(answer->result, PG_DIAG_MESSAGE_PRIMARY));
    lua_pushnil(L);
    lua_pushstring(L, constraint);
    lua_pushstring(L, PQresultErrorField(answer->result, PG_DIAG_CONSTRAINT_NAME));
    return 3;
}

/* The context carries the shape; the statement lies at 1, the answer on top. */
static int on_answer(lua_State *L, int status, lua_KContext shape)
{
    const struct answer *answer = lua_touserdata(L, -1);
    const struct pg_statement *statement = lua_touserdata(L, 1);
    const PGresult *result = answer->result;

    if (answer->err != NULL)
        return raise_failure(L, answer, statement);
    if (shape == SHAPE_RUN) {
        lua_pushinteger(L, strtoll(PQcmdTuples((PGresult *)result), NULL, 10));
        return 1;
    }
    int rows = PQntuples(result);
    if (shape == SHAPE_ONE && rows == 0)
        return 0;
    push_row_metatable(L, statement, result);
    int metatable = lua_gettop(L);
    if (shape == SHAPE_ONE) {
        push_row(L, result, 0, metatable);
        return 1;
    }
    lua_createtable(L, rows, 0);
    for (int i = 0; i < rows; i++) {
        push_row(L, result, i, metatable);
        lua_rawseti(L, -2, i + 1);
    }
    json_mark_list(L);
    return 1;
}

/* Text forms of the arguments from `first` on; they stay alive on the stack. */
static size_t read_values(lua_State *L, int first, const char *values[MOST_VALUES])
{
    int count = lua_gettop(L) - first + 1;
    if (count > MOST_VALUES)
        luaL_error(L, "more than %d values", MOST_VALUES);
    for (int i = 0; i < count; i++) {
        int index = first + i;
        size_t len;
        switch (lua_type(L, index)) {
        case LUA_TNIL:
            values[i] = NULL;
            break;
        case LUA_TBOOLEAN:
            values[i] = lua_toboolean(L, index) ? "t" : "f";
            break;
        case LUA_TTABLE: {
            struct buffer *out = &runtime_of(L)->out;
            out->len = 0;
            json_write(L, index, out);
            lua_pushlstring(L, out->data, out->len);
            lua_replace(L, index);
            values[i] = lua_tostring(L, index);
            break;
        }
        case LUA_TLIGHTUSERDATA: /* json.null */
            values[i] = NULL;
            break;
        case LUA_TNUMBER:
            values[i] = lua_tostring(L, index); /* the argument becomes its text */
            break;
        case LUA_TSTRING:
            values[i] = lua_tolstring(L, index, &len);
            if (strlen(values[i]) != len)
                luaL_error(L, "value %d has a NUL byte", i + 1);
            break;
        default:
            luaL_error(L, "value %d is a %s", i + 1, luaL_typename(L, index));
        }
    }
    return (size_t)count;
}

/* Who is behind what is written now, as JSON for the audit log (sql/migrations/0005_audit.sql), until the
 * runtime's buffer is used again; NULL: no person, as in tasks. */
static const char *actor_of(lua_State *L)
{
    const struct coroutine *coroutine = coroutine_of(L);
    struct buffer *out = &runtime_of(L)->out;
    while (coroutine->parent != NULL)
        coroutine = coroutine->parent;
    if (coroutine->request == NULL)
        return NULL;
    out->len = 0;
    buffer_printf(out, "{\"via\":\"http\",\"address\":\"%s\",\"request_id\":\"%s\"",
                  http_address(coroutine->request),
                  http_id(coroutine->request)); /* nothing to escape in them */
    if (coroutine->user != 0)
        buffer_printf(out, ",\"user\":%lld", (long long)coroutine->user);
    buffer_putc(out, '}');
    return buffer_text(out);
}

static const struct pg_statement *find_statement(lua_State *L, struct runtime *runtime, int index)
{
    const char *name = luaL_checkstring(L, index);
    const struct pg_statement *statement = pg_statement(runtime->services->statements, name);
    if (statement == NULL)
        luaL_error(L, "there is no statement '%s' in sql/queries", name);
    return statement;
}

static int run_statement(lua_State *L, enum shape shape)
{
    const char *values[MOST_VALUES];
    struct runtime *runtime = runtime_of(L);
    if (runtime->query == NULL)
        fail_unless_there(L, runtime->pg, "db");
    const struct pg_statement *statement = find_statement(L, runtime, 1);
    size_t count = read_values(L, 2, values);
    lua_pushlightuserdata(L, (void *)statement);
    lua_replace(L, 1);
    if (runtime->query != NULL) {
        struct answer answer = {0};
        answer.result = runtime->query(runtime->query_arg, statement, count, values, &answer.err);
        lua_pushlightuserdata(L, &answer);
        return on_answer(L, LUA_OK, shape);
    }
    struct coroutine *coroutine = coroutine_to_wait(L);
    pg_query_by(runtime->pg, statement->read ? NULL : actor_of(L), statement, count, values, on_result,
                coroutine);
    return lua_yieldk(L, 0, shape, on_answer);
}

static int db_one(lua_State *L)
{
    return run_statement(L, SHAPE_ONE);
}

static int db_all(lua_State *L)
{
    return run_statement(L, SHAPE_ALL);
}

static int db_run(lua_State *L)
{
    return run_statement(L, SHAPE_RUN);
}

/* tx:one(statement, ...), tx:all, tx:run */
static int transaction_statement(lua_State *L, enum shape shape)
{
    const char *values[MOST_VALUES];
    struct lease *lease = luaL_checkudata(L, 1, transaction_type);
    fail_unless_there(L, runtime_of(L)->pg, "db");
    if (lease->transaction == NULL)
        return luaL_error(L, "the transaction has ended");
    const struct pg_statement *statement = find_statement(L, runtime_of(L), 2);
    size_t count = read_values(L, 3, values);
    lua_pushlightuserdata(L, (void *)statement);
    lua_insert(L, 1); /* the lease stays below: it must live as long as this waits */
    pg_transaction_query(lease->transaction, statement, count, values, on_result, coroutine_to_wait(L));
    return lua_yieldk(L, 0, shape, on_answer);
}

static int transaction_one(lua_State *L)
{
    return transaction_statement(L, SHAPE_ONE);
}

static int transaction_all(lua_State *L)
{
    return transaction_statement(L, SHAPE_ALL);
}

static int transaction_run(lua_State *L)
{
    return transaction_statement(L, SHAPE_RUN);
}

static int on_ended(lua_State *L, int status, lua_KContext context)
{
    const struct answer *answer = lua_touserdata(L, -1);
    if (answer->err == NULL) {
        lua_pushboolean(L, 1);
        return 1;
    }
    return fail_raise(L, 503, "The database did not keep a transaction.");
}

/* tx:finish(commit) */
static int transaction_finish(lua_State *L)
{
    struct lease *lease = luaL_checkudata(L, 1, transaction_type);
    struct pg_transaction *transaction = lease->transaction;
    fail_unless_there(L, runtime_of(L)->pg, "db");
    if (transaction == NULL)
        return luaL_error(L, "the transaction has ended");
    struct coroutine *coroutine = coroutine_to_wait(L);
    lease->transaction = NULL;
    pg_end(transaction, lua_toboolean(L, 2), on_result, coroutine);
    return lua_yieldk(L, 0, 0, on_ended);
}

static int transaction_gc(lua_State *L)
{
    struct lease *lease = luaL_checkudata(L, 1, transaction_type);
    if (lease->transaction != NULL && runtime_of(L)->pg != NULL) /* else it went with its connection */
        pg_end(lease->transaction, false, NULL, NULL);
    lease->transaction = NULL;
    return 0;
}

static void on_begun(void *arg, const char *err, struct pg_transaction *transaction)
{
    struct answer answer = {err, NULL, transaction};
    coroutine_resume_with(arg, &answer);
}

static int take_transaction(lua_State *L, int status, lua_KContext context)
{
    const struct answer *answer = lua_touserdata(L, -1);
    struct lease *lease = lua_touserdata(L, 1);
    if (answer->err != NULL)
        return fail_raise(L, 503, "The database does not answer.");
    lease->transaction = answer->transaction;
    lua_settop(L, 1);
    return 1;
}

/* db.begin(): db.transaction is made of it, in Lua (below). */
static int db_begin(lua_State *L)
{
    struct runtime *runtime = runtime_of(L);
    fail_unless_there(L, runtime->pg, "db");
    lua_settop(L, 0);
    struct lease *lease = lua_newuserdatauv(L, sizeof(*lease), 0);
    lease->transaction = NULL;
    luaL_setmetatable(L, transaction_type);
    struct coroutine *coroutine = coroutine_to_wait(L);
    pg_begin_by(runtime->pg, actor_of(L), on_begun, coroutine);
    return lua_yieldk(L, 0, 0, take_transaction);
}

static const char transaction_source[] = "local begin, pcall, error = ...\n"
                                         "local function finish(tx, ok, ...)\n"
                                         "  if not ok then pcall(tx.finish, tx, false) error(..., 0) end\n"
                                         "  tx:finish(true)\n"
                                         "  return ...\n"
                                         "end\n"
                                         "return function(body)\n"
                                         "  local tx = begin()\n"
                                         "  local proxy = {\n"
                                         "    one = function(...) return tx:one(...) end,\n"
                                         "    all = function(...) return tx:all(...) end,\n"
                                         "    run = function(...) return tx:run(...) end,\n"
                                         "  }\n"
                                         "  return finish(tx, pcall(body, proxy))\n"
                                         "end\n";

void mod_db_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"one", db_one}, {"all", db_all}, {"run", db_run}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"one", transaction_one},
                                       {"all", transaction_all},
                                       {"run", transaction_run},
                                       {"finish", transaction_finish},
                                       {NULL, NULL}};
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &rows_key);

    luaL_newmetatable(L, transaction_type);
    lua_pushcfunction(L, transaction_gc);
    lua_setfield(L, -2, "__gc");
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);

    luaL_newlib(L, functions);
    if (luaL_loadbufferx(L, transaction_source, sizeof(transaction_source) - 1, "=db.transaction", "t") !=
        LUA_OK)
        lua_error(L);
    lua_pushcfunction(L, db_begin);
    lua_getglobal(L, "pcall");
    lua_getglobal(L, "error");
    lua_call(L, 3, 1);
    lua_setfield(L, -2, "transaction");
    lua_setglobal(L, "db");
}
