/* The functions libh2o calls through its procedure linkage table and that we answer first.
 *
 * The dynamic linker prefers a definition in the executable, so that libh2o's own calls come here; the real
 * functions are found once at start by dlsym(RTLD_NEXT). h2o_http2_decode_frame() is given bytes, but not
 * whose they are. That is why `reading` exists, with `in_read` this file's state: the connection whose input
 * this thread is parsing. It is checked against the bytes at each use, and searched for where it turns out to
 * be another. */
#include "base/mem.h"
#include "net/guard_private.h"
#include <dlfcn.h>
#include <h2o/http2.h>
#include <h2o/http2_internal.h>
#include <netinet/tcp.h>

int phr_parse_request(const char *buf, size_t len, const char **method, size_t *method_len, const char **path,
                      size_t *path_len, int *minor_version, struct phr_header *headers, size_t *num_headers,
                      size_t last_len);

/* Written once before main(), read-only since. */
static struct {
    __typeof__(h2o_socket_read_start) *read_start;
    __typeof__(h2o_socket_close) *socket_close;
    __typeof__(phr_parse_request) *parse_request;
    __typeof__(h2o_http2_decode_frame) *decode_frame;
    __typeof__(h2o_hpack_parse_headers) *parse_headers;
    __typeof__(h2o_http2_stream_close) *stream_close;
} real;

static _Thread_local struct guard_conn *reading;
static _Thread_local bool in_read; /* `reading` is in its read callback, and stays what it is */

__attribute__((constructor)) static void find_real(void)
{
    real.read_start = dlsym(RTLD_NEXT, "h2o_socket_read_start");
    real.socket_close = dlsym(RTLD_NEXT, "h2o_socket_close");
    real.parse_request = dlsym(RTLD_NEXT, "phr_parse_request");
    real.decode_frame = dlsym(RTLD_NEXT, "h2o_http2_decode_frame");
    real.parse_headers = dlsym(RTLD_NEXT, "h2o_hpack_parse_headers");
    real.stream_close = dlsym(RTLD_NEXT, "h2o_http2_stream_close");
}

bool guard_in_force(char **error)
{
    const struct {
        const char *name;
        void *ours, *theirs;
    } all[] = {
        {"h2o_socket_read_start", (void *)h2o_socket_read_start, (void *)real.read_start},
        {"h2o_socket_close", (void *)h2o_socket_close, (void *)real.socket_close},
        {"phr_parse_request", (void *)phr_parse_request, (void *)real.parse_request},
        {"h2o_http2_decode_frame", (void *)h2o_http2_decode_frame, (void *)real.decode_frame},
        {"h2o_hpack_parse_headers", (void *)h2o_hpack_parse_headers, (void *)real.parse_headers},
        {"h2o_http2_stream_close", (void *)h2o_http2_stream_close, (void *)real.stream_close},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (all[i].theirs == NULL || dlsym(RTLD_DEFAULT, all[i].name) != all[i].ours) {
            *error =
                x_printf("libh2o does not call our %s (is the executable linked with its symbols exported?)",
                         all[i].name);
            return false;
        }
    }
    return true;
}

void guard_forget(struct guard_conn *conn)
{
    if (reading == conn)
        reading = NULL;
}

static void on_guarded_read(h2o_socket_t *sock, const char *err)
{
    struct guard_conn *conn = guard_find(sock);
    struct guard *guard = conn->guard;
    reading = conn;
    conn->last_in = guard->now;
    if (conn->kind != GUARD_HTTP2)
        conn->bytes_in += sock->bytes_read;
    h2o_linklist_unlink(&conn->link);
    h2o_linklist_insert(&guard->conns, &conn->link);
    /* What was ended gets no further, even if the kernel still had something for it. */
    in_read = true;
    conn->on_read(sock, conn->ended && err == NULL ? h2o_socket_error_closed : err);
    in_read = false;
    if (reading == conn) { /* else it is gone */
        reading = NULL;
        guard_account(conn);
    }
}

/* By the peer, which expects no answers any more; who has only closed its half may. */
static bool was_reset(const struct guard_conn *conn)
{
    struct tcp_info info = {.tcpi_state = TCP_ESTABLISHED};
    socklen_t len = sizeof(info);
    getsockopt(h2o_socket_get_fd(conn->sock), IPPROTO_TCP, TCP_INFO, &info, &len);
    return info.tcpi_state == TCP_CLOSE;
}

void h2o_socket_read_start(h2o_socket_t *sock, h2o_socket_cb cb)
{
    struct guard_conn *conn = guard_find(sock);
    if (conn == NULL) {
        real.read_start(sock, cb);
        return;
    }
    conn->on_read = cb;
    real.read_start(sock, on_guarded_read);
    /* libh2o may go on to parse what is there already, without a read. */
    if (conn->kind <= GUARD_HTTP1 && sock->input->size != 0 && !conn->ended && was_reset(conn))
        guard_lost(conn);
    if (reading == NULL || (!in_read && sock->input->size != 0))
        reading = conn;
    guard_account(conn);
}

void h2o_socket_close(h2o_socket_t *sock)
{
    struct guard_conn *conn = guard_find(sock);
    if (conn != NULL) {
        conn->kind = GUARD_CLOSING;
        conn->last_in = clock_ms();
    }
    real.socket_close(sock);
}

/* What stands for the method of a request that cannot be read. */
static const char malformed[] = "MALFORMED";

bool guard_malformed(const h2o_req_t *req)
{
    return req->input.method.base == malformed;
}

/* libh2o tells by the parser's failure that HTTP/2 begins (RFC 9113, 3.4), and closes behind mere line ends.
 */
static bool must_fail(const char *buf, size_t len)
{
    static const char preface[] = "PRI * HTTP/2";
    size_t ends = 0;
    while (ends < len && (buf[ends] == '\r' || buf[ends] == '\n'))
        ends++;
    return (len <= 4 && ends == len) ||
           (len >= sizeof(preface) - 1 && memcmp(buf, preface, sizeof(preface) - 1) == 0);
}

/* The absolute form of a target (RFC 9112, 3.2.2), which libh2o takes for a path: only its path counts here.
 */
static void use_origin_form(const char **path, size_t *len)
{
    size_t scheme = *len >= 7 && strncasecmp(*path, "http://", 7) == 0    ? 7
                    : *len >= 8 && strncasecmp(*path, "https://", 8) == 0 ? 8
                                                                          : 0;
    if (scheme == 0 || scheme == *len)
        return;
    const char *slash = memchr(*path + scheme, '/', *len - scheme);
    const char *query = memchr(*path + scheme, '?', *len - scheme);
    if (slash != NULL && slash != *path + scheme && (query == NULL || slash < query)) {
        *len -= (size_t)(slash - *path);
        *path = slash;
    } else if (slash == NULL && query == NULL) {
        *path = "/";
        *len = 1;
    }
}

static struct guard_conn *owner(const uint8_t *input)
{
    if (reading == NULL || (const uint8_t *)reading->sock->input->bytes == input)
        return reading;
    h2o_linklist_t *conns = &reading->guard->conns;
    for (h2o_linklist_t *at = conns->next; at != conns; at = at->next) {
        struct guard_conn *conn = H2O_STRUCT_FROM_MEMBER(struct guard_conn, link, at);
        if ((const uint8_t *)conn->sock->input->bytes == input)
            return conn;
    }
    return NULL;
}

int phr_parse_request(const char *buf, size_t len, const char **method, size_t *method_len, const char **path,
                      size_t *path_len, int *minor_version, struct phr_header *headers, size_t *num_headers,
                      size_t last_len)
{
    /* libh2o's HTTP/1 does not look whether an answer could be written (on_send_complete in lib/http1.c) and
     * would go on through all that was pipelined. Of an unfinished request it reads more, and sees the end.
     */
    struct guard_conn *conn = owner((const uint8_t *)buf);
    if (conn != NULL && conn->ended)
        return -2;
    int ret = real.parse_request(buf, len, method, method_len, path, path_len, minor_version, headers,
                                 num_headers, last_len);
    bool sound = ret > 0 ? limits_http1(headers, *num_headers, *minor_version)
                         : ret == -2 && len < H2O_MAX_REQLEN; /* of an unfinished one libh2o takes no more */
    if (sound && ret > 0)
        use_origin_form(path, path_len);
    if (sound || (ret == -1 && must_fail(buf, len)))
        return ret;
    /* HTTP/1.0 without a header is answered, whatever else came, and closed. */
    *method = malformed;
    *method_len = sizeof(malformed) - 1;
    *path = "/";
    *path_len = 1;
    *minor_version = 0;
    *num_headers = limits_keep(headers, *num_headers, "x-request-id");
    return (int)len;
}

ssize_t h2o_http2_decode_frame(h2o_http2_frame_t *frame, const uint8_t *src, size_t len,
                               const h2o_http2_settings_t *host_settings, const char **err_desc)
{
    ssize_t ret = real.decode_frame(frame, src, len, host_settings, err_desc);
    if (ret < 0)
        return ret;
    struct guard_conn *conn = owner(src);
    const char *flaw = conn == NULL ? NULL : guard_http2_frame(conn, frame);
    if (flaw != NULL) {
        guard_condemn(conn, GUARD_WHY_ABUSE);
        *err_desc = flaw;
        return H2O_HTTP2_ERROR_ENHANCE_YOUR_CALM;
    }
    return ret;
}

/* Bytes that a request's headers stand for, repetitions of one table entry counted each time. */
static size_t decoded_size(const h2o_req_t *req)
{
    size_t size = req->input.method.len + req->input.path.len + req->input.authority.len;
    for (size_t i = 0; i < req->headers.size; i++)
        size += req->headers.entries[i].name->len + req->headers.entries[i].value.len;
    return size;
}

int h2o_hpack_parse_headers(h2o_req_t *req, h2o_hpack_header_table_t *header_table, const uint8_t *src,
                            size_t len, int *pseudo_header_exists_map, size_t *content_length,
                            h2o_cache_digests_t **digests, const char **err_desc)
{
    int ret;
    /* No cache digests: they only serve server push, and one small field makes a large table. */
    if (limits_hpack(src, len, LIMITS_HEADER_FIELDS) > LIMITS_HEADER_FIELDS)
        *err_desc = "too many header fields";
    else if ((ret = real.parse_headers(req, header_table, src, len, pseudo_header_exists_map, content_length,
                                       NULL, err_desc)) != 0 ||
             decoded_size(req) <= LIMITS_HEADER_DECODED) {
        if (pseudo_header_exists_map != NULL)
            guard_http2_request(req, ret, *content_length);
        return ret;
    } else
        *err_desc = "header fields too large";
    struct guard_conn *conn = guard_find(req->conn->callbacks->get_socket(req->conn));
    if (conn != NULL)
        guard_condemn(conn, GUARD_WHY_ABUSE);
    return H2O_HTTP2_ERROR_ENHANCE_YOUR_CALM;
}

void h2o_http2_stream_close(h2o_http2_conn_t *http2, h2o_http2_stream_t *stream)
{
    struct guard_conn *conn = http2->sock == NULL ? NULL : guard_find(http2->sock);
    if (conn != NULL)
        guard_http2_closing(conn, stream);
    real.stream_close(http2, stream);
    if (conn != NULL && conn->http2.bodies)
        guard_account(conn);
}
