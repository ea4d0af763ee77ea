#include "lua/routes.h"
#include "base/flatjson.h"
#include "base/mem.h"
#include "lua/coroutine.h"
#include "lua/fail.h"
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char refusal_key; /* registry: what a route with an :id does where the path holds none */

/* A tree of path segments; `:name` is the child that takes any. */
struct node {
    char *segment;
    size_t len;
    bool id; /* for a param: it is an :id */
    struct node *children, *param, *next;
    struct route *routes;
};

struct route_table {
    struct node root;
};

struct route_table *routes_new(void)
{
    return x_new(struct route_table);
}

static void free_node(struct node *node)
{
    for (struct route *route = node->routes, *next; route != NULL; route = next) {
        next = route->next;
        for (unsigned i = 0; i < route->param_count; i++)
            free(route->params[i]);
        free(route->method);
        free(route->path);
        free(route->source);
        free(route->refusal);
        free(route);
    }
    for (struct node *child = node->children, *next; child != NULL; child = next) {
        next = child->next;
        free_node(child);
        free(child);
    }
    if (node->param != NULL)
        free_node(node->param);
    free(node->param);
    free(node->segment);
}

void routes_free(struct route_table *table)
{
    free_node(&table->root);
    free(table);
}

/* Declarations. Errors name the file and the line of the handler, the one thing whose line Lua knows. */

struct declaration {
    lua_State *L;
    int table;
    const char *file;
    int line;
};

__attribute__((format(printf, 2, 3))) static void refuse(const struct declaration *declaration,
                                                         const char *format, ...)
{
    char message[256];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    lua_pushfstring(declaration->L, "%s:%d: %s", declaration->file, declaration->line, message);
    lua_error(declaration->L);
}

static const char *text_field(const struct declaration *declaration, const char *name)
{
    if (lua_getfield(declaration->L, declaration->table, name) != LUA_TSTRING)
        refuse(declaration, "route without %s", name);
    return lua_tostring(declaration->L, -1); /* stays on the stack: alive until the declaration is done */
}

static int choice_field(const struct declaration *declaration, const char *name, const char *const *choices)
{
    const char *text = text_field(declaration, name);
    for (int i = 0; choices[i] != NULL; i++) {
        if (strcmp(text, choices[i]) == 0)
            return i;
    }
    refuse(declaration, "route with unknown %s '%s'", name, text);
    return -1;
}

static void refuse_unknown_fields(const struct declaration *declaration)
{
    static const char known[] = " method path who body query handler max_body ";
    lua_State *L = declaration->L;
    for (lua_pushnil(L); lua_next(L, declaration->table) != 0; lua_pop(L, 1)) {
        char word[32];
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "[?]";
        snprintf(word, sizeof(word), " %.28s ", name);
        if (strstr(known, word) == NULL)
            refuse(declaration, "route with unknown field '%s'", name);
    }
}

/* require("lib.schema")[function](value, {text = true}?) of the value on top of the stack, which it pops. */
static int call_schema(const struct declaration *declaration, const char *function, bool text)
{
    lua_State *L = declaration->L;
    generation_require(L, "lib.schema");
    lua_getfield(L, -1, function);
    lua_pushvalue(L, -3);
    if (text) {
        lua_createtable(L, 0, 1);
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, "text");
    }
    if (lua_pcall(L, text ? 2 : 1, 1, 0) != LUA_OK)
        refuse(declaration, "%s", lua_tostring(L, -1));
    int reference = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pop(L, 2);
    return reference;
}

static void read_body(const struct declaration *declaration, struct route *route)
{
    lua_State *L = declaration->L;
    route->check_body = route->check_query = LUA_NOREF;
    int type = lua_getfield(L, declaration->table, "body");
    if (type == LUA_TTABLE) {
        route->body = ROUTE_JSON;
        route->check_body = call_schema(declaration, "compile", false);
    } else if (type == LUA_TSTRING) {
        static const char *const kinds[] = {"raw", "multipart", NULL};
        route->body = choice_field(declaration, "body", kinds) == 0 ? ROUTE_RAW : ROUTE_MULTIPART;
    } else if (type != LUA_TNIL) {
        refuse(declaration, "route with a body that is neither a schema nor \"raw\" nor \"multipart\"");
    }
    type = lua_getfield(L, declaration->table, "query");
    if (type == LUA_TTABLE)
        route->check_query = call_schema(declaration, "compile", true);
    else if (type != LUA_TNIL)
        refuse(declaration, "route with a query that is not a schema");
    type = lua_getfield(L, declaration->table, "max_body");
    if (type != LUA_TNIL) {
        const struct config_key *key = type == LUA_TSTRING ? config_find(lua_tostring(L, -1)) : NULL;
        if (key == NULL || key->type != CONFIG_SIZE)
            refuse(declaration, "max_body names no size of the configuration");
        const struct config *config = runtime_of(L)->services->config;
        route->max_body = (size_t) * (const int64_t *)((const char *)config + key->offset);
    }
}

static struct node *child_of(struct node *node, const char *segment, size_t len,
                             const struct declaration *declaration)
{
    if (*segment == ':') {
        bool id = len == 3 && strncmp(segment, ":id", 3) == 0;
        if (node->param == NULL) {
            node->param = x_new(struct node);
            node->param->id = id;
        } else if (node->param->id != id) {
            refuse(declaration, "path mixes :id and other params in one place");
        }
        return node->param;
    }
    for (struct node *child = node->children; child != NULL; child = child->next) {
        if (child->len == len && memcmp(child->segment, segment, len) == 0)
            return child;
    }
    struct node *child = x_new(struct node);
    child->segment = x_memdup(segment, len);
    child->len = len;
    child->next = node->children;
    node->children = child;
    return child;
}

/* The path is that of nothing; any argument. */
static int refuse_id(lua_State *L)
{
    return fail_raise(L, 404, NULL);
}

/* It stands for the route where the path holds no id, so that who asks is told as much as about an id that is
 * not there, and no earlier: after the token was checked. */
static void add_refusal(lua_State *L, struct route *route)
{
    bool has_id = false;
    for (unsigned i = 0; i < route->param_count; i++)
        has_id = has_id || strcmp(route->params[i], "id") == 0;
    if (!has_id)
        return;
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &refusal_key) == LUA_TNIL) {
        lua_pushcfunction(L, refuse_id);
        lua_pushinteger(L, luaL_ref(L, LUA_REGISTRYINDEX));
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &refusal_key);
    }
    int reference = (int)lua_tointeger(L, -1);
    route->refusal = x_new(struct route);
    *route->refusal = *route;
    route->refusal->refusal = NULL;
    route->refusal->param_count = 0;
    route->refusal->body = ROUTE_RAW;
    route->refusal->handler = route->refusal->check_query = reference;
}

static void add_route(struct route_table *table, const struct declaration *declaration)
{
    static const char *const roles[] = {"anyone", "guest", "user", "operator", NULL};
    static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE", NULL};
    lua_State *L = declaration->L;

    refuse_unknown_fields(declaration);
    const char *path = text_field(declaration, "path");
    int method = choice_field(declaration, "method", methods);
    if (*path != '/')
        refuse(declaration, "path '%s' does not begin with /", path);

    struct node *node = &table->root;
    const char *names[ROUTE_PARAMS];
    size_t lengths[ROUTE_PARAMS];
    unsigned count = 0;
    for (const char *at = path + 1; *at != '\0';) {
        size_t len = strcspn(at, "/");
        if (len == 0)
            refuse(declaration, "path '%s' has an empty segment", path);
        if (*at == ':') {
            if (len == 1)
                refuse(declaration, "path '%s' has a param without a name", path);
            if (count == ROUTE_PARAMS)
                refuse(declaration, "path '%s' has too many params", path);
            names[count] = at + 1;
            lengths[count++] = len - 1;
        }
        node = child_of(node, at, len, declaration);
        at += len;
        if (at[0] == '/' && at[1] == '\0')
            refuse(declaration, "path '%s' ends with /", path);
        at += *at == '/';
    }
    for (const struct route *other = node->routes; other != NULL; other = other->next) {
        if (strcmp(other->method, methods[method]) == 0)
            refuse(declaration, "%s %s is declared already at %s", methods[method], path, other->source);
    }

    /* Linked at once, so that it is freed with the table if a later check raises. */
    struct route *route = x_new(struct route);
    route->next = node->routes;
    node->routes = route;
    route->method = x_strdup(methods[method]);
    route->path = x_strdup(path);
    route->source = x_printf("%s:%d", declaration->file, declaration->line);
    for (; route->param_count < count; route->param_count++)
        route->params[route->param_count] = x_memdup(names[route->param_count], lengths[route->param_count]);
    route->who = (enum route_who)choice_field(declaration, "who", roles);
    read_body(declaration, route);
    lua_getfield(L, declaration->table, "handler");
    if (route->body == ROUTE_NO_BODY && strcmp(route->method, "GET") != 0) {
        route->body = ROUTE_RAW;
        route->handler = call_schema(declaration, "without_body", false);
    } else {
        route->handler = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    add_refusal(L, route);
}

void routes_add(struct route_table *table, lua_State *L, const char *file)
{
    if (!lua_istable(L, -1))
        luaL_error(L, "%s:1: must return a list of routes", file);
    int list = lua_gettop(L);
    lua_Integer count = (lua_Integer)lua_rawlen(L, list);
    for (lua_pushnil(L); lua_next(L, list) != 0; lua_pop(L, 1)) {
        if (!lua_isinteger(L, -2) || lua_tointeger(L, -2) < 1 || lua_tointeger(L, -2) > count ||
            !lua_istable(L, -1))
            luaL_error(L, "%s:1: must return a list of routes, and nothing else in it", file);
    }
    for (lua_Integer i = 1; lua_rawgeti(L, list, i) == LUA_TTABLE; i++) {
        lua_Debug where = {.linedefined = 1};
        struct declaration declaration = {L, lua_gettop(L), file, 1};
        if (lua_getfield(L, -1, "handler") == LUA_TFUNCTION) {
            lua_getinfo(L, ">S", &where);
            declaration.line = where.linedefined;
        } else {
            refuse(&declaration, "route %d has no handler", (int)i);
        }
        add_route(table, &declaration);
        lua_settop(L, list);
    }
    lua_settop(L, list);
}

static bool is_id(h2o_iovec_t text)
{
    int64_t value = 0;
    if (text.len == 0 || text.len > 10 || text.base[0] == '0')
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.base[i] < '0' || text.base[i] > '9')
            return false;
        value = value * 10 + (text.base[i] - '0');
    }
    return value <= INT32_MAX;
}

/* *sound is false where the path has something else in place of an :id. */
static const struct node *walk(const struct route_table *table, h2o_iovec_t path,
                               h2o_iovec_t values[ROUTE_PARAMS], bool *sound)
{
    const struct node *node = &table->root;
    unsigned count = 0;
    *sound = true;
    if (path.len == 0 || path.base[0] != '/')
        return NULL;
    const char *at = path.base + 1, *end = path.base + path.len;
    while (at < end && node != NULL) {
        const char *slash = memchr(at, '/', (size_t)(end - at));
        h2o_iovec_t segment = {(char *)at, (size_t)((slash == NULL ? end : slash) - at)};
        const struct node *child = node->children;
        while (child != NULL &&
               !(child->len == segment.len && memcmp(child->segment, segment.base, segment.len) == 0))
            child = child->next;
        if (child == NULL && (child = node->param) != NULL) {
            if (segment.len == 0 || count == ROUTE_PARAMS ||
                (!child->id && !flatjson_utf8(segment.base, segment.len)))
                return NULL;
            *sound = *sound && (!child->id || is_id(segment));
            values[count++] = segment;
        }
        node = child;
        at = slash == NULL ? end : slash + 1;
        if (slash != NULL && at == end)
            return NULL; /* a trailing slash is another path */
    }
    return node;
}

const struct route *routes_find(const struct route_table *table, h2o_iovec_t method, h2o_iovec_t path,
                                h2o_iovec_t values[ROUTE_PARAMS], char *allow, size_t size)
{
    bool sound;
    const struct node *node = walk(table, path, values, &sound);
    bool head = h2o_memis(method.base, method.len, H2O_STRLIT("HEAD"));
    size_t len = 0;
    *allow = '\0';
    if (node == NULL)
        return NULL;
    for (const struct route *route = node->routes; route != NULL; route = route->next) {
        if (h2o_memis(method.base, method.len, route->method, strlen(route->method)) ||
            (head && strcmp(route->method, "GET") == 0))
            return sound ? route : route->refusal;
        len += (size_t)snprintf(allow + len, size - len, "%s%s%s", len == 0 ? "" : ", ", route->method,
                                strcmp(route->method, "GET") == 0 ? ", HEAD" : "");
    }
    return NULL;
}

static void each_below(const struct node *node, void (*each)(void *arg, const struct route *route), void *arg)
{
    for (const struct route *route = node->routes; route != NULL; route = route->next)
        each(arg, route);
    for (const struct node *child = node->children; child != NULL; child = child->next)
        each_below(child, each, arg);
    if (node->param != NULL)
        each_below(node->param, each, arg);
}

void routes_each(const struct route_table *table, void (*each)(void *arg, const struct route *route),
                 void *arg)
{
    each_below(&table->root, each, arg);
}
