/* The yardstick of GET /devices/:id: h2o + libpq + libsodium and nothing between them.
 *
 * Environment: PORT, WORKERS, BENCH_KEY_FILE (the HS256 key), DATABASE_URL.
 * Each worker is a thread with its own loop, listener (SO_REUSEPORT) and PostgreSQL connection in pipeline
 * mode; workers share nothing but the key, which nobody writes. Queries of one turn of the loop go out
 * together behind one sync. A `struct query` lives from its sending to its result, on the worker's list or
 * its stock of spare ones; the request may end first, and then takes its pointer out.
 * As a yardstick it need not survive PostgreSQL: whatever breaks ends the program with a message. */
#include "device.h"
#include "token.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static const char statement_name[] = "device";

struct query {
    struct query *next;
    h2o_req_t *req;      /* NULL once the client has gone */
    struct query **link; /* in the request's pool; points back here */
};

struct worker {
    h2o_context_t context;
    h2o_accept_ctx_t accept;
    PGconn *pg;
    h2o_socket_t *pg_socket;
    struct query *first, **last, *spare;
    size_t syncs;  /* sent and not yet answered */
    bool unsynced; /* queries were queued in this turn */
    const struct token_key *key;
};

struct handler {
    h2o_handler_t super;
    struct worker *worker;
};

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "bench-bare: %s: %s\n", what, why);
    exit(1);
}

static void send_json(h2o_req_t *req, int status, const char *reason, h2o_iovec_t body)
{
    static h2o_generator_t whole = {NULL, NULL};
    req->res.status = status;
    req->res.reason = reason;
    req->res.content_length = body.len;
    h2o_iovec_t type = status == 200 ? h2o_iovec_init(H2O_STRLIT("application/json"))
                                     : h2o_iovec_init(H2O_STRLIT("application/problem+json"));
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL, type.base, type.len);
    if (status == 401)
        h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_WWW_AUTHENTICATE, NULL, H2O_STRLIT("Bearer"));
    h2o_start_response(req, &whole);
    h2o_send(req, &body, 1, H2O_SEND_STATE_FINAL);
}

static void send_unauthorized(h2o_req_t *req)
{
    send_json(req, 401, "Unauthorized",
              h2o_iovec_init(
                  H2O_STRLIT("{\"type\":\"about:blank\",\"title\":\"Unauthorized\",\"status\":401}")));
}

static void send_not_found(h2o_req_t *req)
{
    send_json(req, 404, "Not Found",
              h2o_iovec_init(
                  H2O_STRLIT("{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404}")));
}

/* --- PostgreSQL --- */

static void finish_query(struct worker *worker, const PGresult *result)
{
    struct query *query = worker->first;
    if ((worker->first = query->next) == NULL)
        worker->last = &worker->first;
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        die("query", PQresultErrorMessage(result));
    h2o_req_t *req = query->req;
    if (req != NULL) {
        *query->link = NULL;
        if (PQntuples(result) == 1)
            send_json(req, 200, "OK", device_json(&req->pool, result));
        else
            send_not_found(req);
    }
    query->next = worker->spare;
    worker->spare = query;
}

static void on_pg_readable(h2o_socket_t *socket, const char *err)
{
    struct worker *worker = socket->data;
    if (err != NULL || !PQconsumeInput(worker->pg))
        die("PostgreSQL", err != NULL ? err : PQerrorMessage(worker->pg));
    while ((worker->first != NULL || worker->syncs != 0) && !PQisBusy(worker->pg)) {
        PGresult *result = PQgetResult(worker->pg);
        if (result == NULL)
            continue; /* the end of one query's results */
        if (PQresultStatus(result) == PGRES_PIPELINE_SYNC)
            worker->syncs--;
        else
            finish_query(worker, result);
        PQclear(result);
    }
}

static void on_pg_writable(h2o_socket_t *socket, const char *err);

static void flush_queries(struct worker *worker)
{
    int left = PQflush(worker->pg);
    if (left < 0)
        die("PostgreSQL", PQerrorMessage(worker->pg));
    if (left > 0 && !h2o_socket_is_writing(worker->pg_socket))
        h2o_socket_notify_write(worker->pg_socket, on_pg_writable);
}

static void on_pg_writable(h2o_socket_t *socket, const char *err)
{
    if (err != NULL)
        die("PostgreSQL", err);
    flush_queries(socket->data);
}

static void sync_queries(struct worker *worker)
{
    if (!PQpipelineSync(worker->pg))
        die("PostgreSQL", PQerrorMessage(worker->pg));
    worker->syncs++;
    worker->unsynced = false;
    flush_queries(worker);
}

static void connect_pg(struct worker *worker, const char *url)
{
    worker->last = &worker->first;
    worker->pg = PQconnectdb(url);
    if (PQstatus(worker->pg) != CONNECTION_OK)
        die("PostgreSQL", PQerrorMessage(worker->pg));
    PGresult *result = PQprepare(worker->pg, statement_name, device_statement, 0, NULL);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        die("prepare", PQresultErrorMessage(result));
    PQclear(result);
    if (PQsetnonblocking(worker->pg, 1) != 0 || !PQenterPipelineMode(worker->pg))
        die("PostgreSQL", PQerrorMessage(worker->pg));
    /* h2o closes its descriptor itself, so it gets one of its own. */
    worker->pg_socket =
        h2o_evloop_socket_create(worker->context.loop, dup(PQsocket(worker->pg)), H2O_SOCKET_FLAG_DONT_READ);
    worker->pg_socket->data = worker;
    h2o_socket_read_start(worker->pg_socket, on_pg_readable);
}

/* --- HTTP --- */

static void on_request_gone(void *arg)
{
    struct query **link = arg;
    if (*link != NULL)
        (*link)->req = NULL;
}

static void send_query(struct worker *worker, h2o_req_t *req, int32_t device, const struct token_claims *who)
{
    struct query *query = worker->spare;
    if (query != NULL)
        worker->spare = query->next;
    else
        query = h2o_mem_alloc(sizeof(*query));
    struct query **link = h2o_mem_alloc_shared(&req->pool, sizeof(*link), on_request_gone);
    *link = query;
    *query = (struct query){.req = req, .link = link};
    *worker->last = query;
    worker->last = &query->next;

    uint32_t id = htonl((uint32_t)device), user = htonl((uint32_t)who->user);
    char all = who->is_operator;
    const char *values[] = {(const char *)&id, (const char *)&user, &all};
    static const int lengths[] = {4, 4, 1}, binary[] = {1, 1, 1};
    if (!PQsendQueryPrepared(worker->pg, statement_name, 3, values, lengths, binary, 1))
        die("PostgreSQL", PQerrorMessage(worker->pg));
    worker->unsynced = true;
}

static bool parse_id(const char *text, size_t len, int32_t *id)
{
    int64_t number = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9' || (number = number * 10 + text[i] - '0') > INT32_MAX)
            return false;
    }
    *id = (int32_t)number;
    return number > 0;
}

static int on_request(h2o_handler_t *self, h2o_req_t *req)
{
    static const char path[] = "/devices/", scheme[] = "Bearer ";
    enum { PATH = sizeof(path) - 1, SCHEME = sizeof(scheme) - 1 };
    struct worker *worker = ((struct handler *)self)->worker;
    struct token_claims who;
    int32_t device;

    h2o_iovec_t name = req->path_normalized;
    if (!h2o_memis(req->method.base, req->method.len, H2O_STRLIT("GET")) || name.len <= PATH ||
        memcmp(name.base, path, PATH) != 0 || !parse_id(name.base + PATH, name.len - PATH, &device)) {
        send_not_found(req);
        return 0;
    }
    ssize_t at = h2o_find_header(&req->headers, H2O_TOKEN_AUTHORIZATION, -1);
    if (at == -1) {
        send_unauthorized(req);
        return 0;
    }
    h2o_iovec_t value = req->headers.entries[at].value;
    if (value.len <= SCHEME || memcmp(value.base, scheme, SCHEME) != 0 ||
        !token_check(worker->key, value.base + SCHEME, value.len - SCHEME, time(NULL), &who)) {
        send_unauthorized(req);
        return 0;
    }
    send_query(worker, req, device, &who);
    return 0;
}

static void on_accept(h2o_socket_t *listener, const char *err)
{
    struct worker *worker = listener->data;
    h2o_socket_t *socket;
    if (err == NULL && (socket = h2o_evloop_socket_accept(listener)) != NULL)
        h2o_accept(&worker->accept, socket);
}

static void start_listening(struct worker *worker, uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd == -1 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, SOMAXCONN) != 0)
        die("listen", strerror(errno));
    h2o_socket_t *listener = h2o_evloop_socket_create(worker->context.loop, fd, H2O_SOCKET_FLAG_DONT_READ);
    listener->data = worker;
    h2o_socket_read_start(listener, on_accept);
}

/* --- start --- */

static const char *setting(const char *name)
{
    const char *value = getenv(name);
    if (value == NULL || *value == '\0')
        die(name, "not set");
    return value;
}

static void *run_worker(void *key)
{
    struct worker worker = {.key = key};
    h2o_globalconf_t config;
    h2o_config_init(&config);
    h2o_hostconf_t *host = h2o_config_register_host(&config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    h2o_pathconf_t *path = h2o_config_register_path(host, "/", 0);
    struct handler *handler = (struct handler *)h2o_create_handler(path, sizeof(*handler));
    handler->super.on_req = on_request;
    handler->worker = &worker;
    h2o_context_init(&worker.context, h2o_evloop_create(), &config);
    worker.accept = (h2o_accept_ctx_t){.ctx = &worker.context, .hosts = config.hosts};
    connect_pg(&worker, setting("DATABASE_URL"));
    start_listening(&worker, (uint16_t)atoi(setting("PORT")));
    while (h2o_evloop_run(worker.context.loop, INT32_MAX) == 0) {
        if (worker.unsynced)
            sync_queries(&worker);
    }
    die("loop", strerror(errno));
}

int main(void)
{
    struct token_key key;
    signal(SIGPIPE, SIG_IGN);
    if (sodium_init() < 0)
        die("libsodium", "cannot start");
    if (!token_key_read(&key, setting("BENCH_KEY_FILE")))
        die(setting("BENCH_KEY_FILE"), strerror(errno));
    for (int i = atoi(setting("WORKERS")); i > 1; i--) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, run_worker, &key) != 0)
            die("thread", "cannot start");
    }
    run_worker(&key);
}
