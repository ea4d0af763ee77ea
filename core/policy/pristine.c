#include "policy/pristine.h"
#include "base/mem.h"
#include <lauxlib.h>
#include <stdlib.h>

enum { MOST_TABLES = 16, MOST_FIELDS = 128, MOST_UPVALUES = 64, DEEPEST = 16 };

/* Where a value is: above zero its place in the list of constants, below zero minus the number of its table,
 * from 1 on; zero: nil. */
typedef int place;

struct pristine {
    struct table {
        int elements, fields; /* how much room to make */
    } tables[MOST_TABLES];
    struct field {
        place table, key, value;
    } fields[MOST_FIELDS];
    struct upvalue {
        place function;
        int index;
        place value;
        void *id;
    } upvalues[MOST_UPVALUES];
    int table_count, field_count, upvalue_count;
};

struct taking {
    lua_State *L;
    struct pristine *pristine;
    int constants, seen; /* on the stack: the list; places by the table or function that is there */
    place constant_count;
};

struct pristine *pristine_new(void)
{
    return x_new(struct pristine);
}

void pristine_free(struct pristine *pristine)
{
    free(pristine);
}

static bool take(struct taking *taking, int depth, place *where);

/* Of functions in C those are sound that have no values of their own, or one that is such a function: the
 * globals' (policy/confine). */
static bool take_function(struct taking *taking, int function, place at, int depth)
{
    lua_State *L = taking->L;
    struct pristine *pristine = taking->pristine;
    if (lua_iscfunction(L, function))
        return lua_getupvalue(L, function, 1) == NULL || lua_iscfunction(L, -1);
    for (int i = 1; lua_getupvalue(L, function, i) != NULL; i++) {
        void *id = lua_upvalueid(L, function, i);
        int n = 0;
        while (n < pristine->upvalue_count && pristine->upvalues[n].id != id)
            n++;
        if (n < pristine->upvalue_count) { /* shared with a function before */
            lua_pop(L, 1);
            continue;
        }
        if (n == MOST_UPVALUES)
            return false;
        pristine->upvalue_count++;
        pristine->upvalues[n] = (struct upvalue){.function = at, .index = i, .id = id};
        if (!take(taking, depth, &pristine->upvalues[n].value))
            return false;
    }
    return true;
}

static bool take_table(struct taking *taking, int index, place at, int depth)
{
    lua_State *L = taking->L;
    struct pristine *pristine = taking->pristine;
    struct table *table = &pristine->tables[-at - 1];
    table->elements = (int)lua_rawlen(L, index);
    for (lua_pushnil(L); lua_next(L, index) != 0;) {
        int n = pristine->field_count++, key = lua_type(L, -2);
        if (n >= MOST_FIELDS || key == LUA_TTABLE || key == LUA_TFUNCTION)
            return false;
        pristine->fields[n].table = at;
        if (!take(taking, depth, &pristine->fields[n].value))
            return false;
        lua_pushvalue(L, -1);
        if (!take(taking, depth, &pristine->fields[n].key))
            return false;
        table->fields++;
    }
    table->fields = table->fields > table->elements ? table->fields - table->elements : 0;
    return true;
}

/* Takes the value on top off the stack, and in. A table with a metatable is one of the globals', which do not
 * change; a policy's own have none. */
static bool take(struct taking *taking, int depth, place *where)
{
    lua_State *L = taking->L;
    struct pristine *pristine = taking->pristine;
    int index = lua_gettop(L), type = lua_type(L, index);
    bool ok = depth < DEEPEST && type != LUA_TUSERDATA && type != LUA_TTHREAD && lua_checkstack(L, 8);
    bool shared = type == LUA_TTABLE || type == LUA_TFUNCTION;
    bool known = false, anew = false;
    *where = 0;
    if (ok && shared) {
        lua_pushvalue(L, index);
        known = lua_rawget(L, taking->seen) == LUA_TNUMBER;
        *where = (place)lua_tointeger(L, -1);
        anew = !known && type == LUA_TTABLE && !lua_getmetatable(L, index);
    }
    if (ok && !known && type != LUA_TNIL) {
        ok = !anew || pristine->table_count < MOST_TABLES;
        *where = anew ? -(++pristine->table_count) : ++taking->constant_count;
    }
    if (ok && shared && !known) {
        lua_pushvalue(L, index);
        lua_pushinteger(L, *where);
        lua_rawset(L, taking->seen);
    }
    if (ok && !known && !anew && type != LUA_TNIL) {
        lua_pushvalue(L, index);
        lua_rawseti(L, taking->constants, *where);
    }
    if (ok && anew)
        ok = take_table(taking, index, *where, depth + 1);
    else if (ok && !known && type == LUA_TFUNCTION)
        ok = take_function(taking, index, *where, depth + 1);
    lua_settop(L, index - 1);
    return ok;
}

bool pristine_take(struct pristine *pristine, lua_State *L, int count, const void *key)
{
    int top = lua_gettop(L);
    struct taking taking = {L, pristine, top + 1, top + 2, 0};
    place where;
    bool ok = true;
    *pristine = (struct pristine){0};
    lua_newtable(L);
    lua_newtable(L);
    for (int i = top - count + 1; i <= top && ok; i++) {
        if (lua_type(L, i) != LUA_TFUNCTION)
            continue;
        lua_pushvalue(L, i);
        ok = take(&taking, 0, &where);
    }
    lua_settop(L, taking.constants);
    lua_rawsetp(L, LUA_REGISTRYINDEX, key);
    return ok;
}

static void push(lua_State *L, int constants, place value)
{
    if (value < 0)
        lua_pushvalue(L, constants - value);
    else if (value == 0)
        lua_pushnil(L);
    else
        lua_rawgeti(L, constants, value);
}

void pristine_restore(const struct pristine *pristine, lua_State *L, const void *key)
{
    int constants = lua_gettop(L) + 1;
    luaL_checkstack(L, pristine->table_count + 4, NULL);
    lua_rawgetp(L, LUA_REGISTRYINDEX, key);
    for (int i = 0; i < pristine->table_count; i++)
        lua_createtable(L, pristine->tables[i].elements, pristine->tables[i].fields);
    for (int i = 0; i < pristine->field_count; i++) {
        const struct field *field = &pristine->fields[i];
        lua_rawgeti(L, constants, field->key);
        push(L, constants, field->value);
        lua_rawset(L, constants - field->table);
    }
    for (int i = 0; i < pristine->upvalue_count; i++) {
        const struct upvalue *upvalue = &pristine->upvalues[i];
        lua_rawgeti(L, constants, upvalue->function);
        push(L, constants, upvalue->value);
        lua_setupvalue(L, -2, upvalue->index);
        lua_pop(L, 1);
    }
    lua_settop(L, constants - 1);
}
