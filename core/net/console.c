/* index.html answers each path below /ui/ that names no file: the console finds its page by the path itself.
 * Scripts and styles must be files of this host, or carry the nonce that each answer makes anew. */
#include "net/console.h"
#include "base/buffer.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/files.h"
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { NONCE = 16, NONCE_TEXT = sodium_base64_ENCODED_LEN(NONCE, sodium_base64_VARIANT_ORIGINAL) };

static const char below[] = "/ui/", index_name[] = "index.html", nonce_mark[] = "CSP_NONCE";

struct console {
    struct files *files;
    const struct files_entry *index;
};

struct console *console_load(const char *directory)
{
    char *error = NULL;
    size_t bytes;
    struct console *console = x_new(struct console);
    console->files = files_load(directory, &error);
    if (console->files == NULL) {
        log_error("the console is not served", LOG_STR("error", error));
        free(error);
        console_free(console);
        return NULL;
    }
    size_t count = files_count(console->files, &bytes);
    console->index = files_find(console->files, h2o_iovec_init(index_name, strlen(index_name)));
    if (console->index == NULL) {
        log_info("no console", LOG_STR("directory", directory),
                 LOG_STR("reason", count == 0 ? "empty or missing" : "without index.html"));
        console_free(console);
        return NULL;
    }
    log_info("console", LOG_STR("directory", directory), LOG_INT("files", count), LOG_INT("bytes", bytes));
    return console;
}

void console_free(struct console *console)
{
    if (console != NULL)
        files_free(console->files);
    free(console);
}

static bool is(h2o_iovec_t path, const char *text)
{
    return h2o_memis(path.base, path.len, text, strlen(text));
}

static bool has_controls(h2o_iovec_t text)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.base[i] < ' ' || text.base[i] == 0x7F)
            return true;
    }
    return false;
}

/* False: not the console's. *file is NULL where it would be a file and there is none. */
static bool find(const struct console *console, h2o_iovec_t path, const struct files_entry **file)
{
    size_t len = sizeof(below) - 1;
    *file = console->index;
    if (is(path, "/") || is(path, "/ui") || is(path, below))
        return true;
    if (is(path, "/favicon.ico")) {
        *file = files_find(console->files, h2o_iovec_init(path.base + 1, path.len - 1));
        return *file != NULL;
    }
    if (path.len < len || memcmp(path.base, below, len) != 0)
        return false;
    h2o_iovec_t name = {path.base + len, path.len - len};
    const struct files_entry *found = files_find(console->files, name);
    const char *slash = memrchr(name.base, '/', name.len);
    size_t last = slash == NULL ? 0 : (size_t)(slash + 1 - name.base);
    if (found != NULL || memchr(name.base + last, '.', name.len - last) != NULL || has_controls(name))
        *file = found;
    return true;
}

/* A host and port as they may stand in a policy. Those of IPv6 may not: 'self' is all there is for them. */
static bool is_host(h2o_iovec_t authority)
{
    for (size_t i = 0; i < authority.len; i++) {
        char c = authority.base[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
              c == '-' || c == ':'))
            return false;
    }
    return authority.len != 0 && authority.len <= 260;
}

/* Safari took 'self' for http only until 15.4, so the live feed's addresses are named. */
static void put_policy(struct buffer *policy, const char *nonce, h2o_iovec_t authority)
{
    buffer_printf(policy,
                  "default-src 'none'; script-src 'self' 'nonce-%s'; style-src 'self' 'nonce-%s'; "
                  "img-src 'self' data: blob:; font-src 'self'; connect-src 'self'",
                  nonce, nonce);
    if (is_host(authority))
        buffer_printf(policy, " ws://%.*s wss://%.*s", (int)authority.len, authority.base, (int)authority.len,
                      authority.base);
    buffer_puts(policy, "; worker-src 'self'; manifest-src 'self'; base-uri 'self'; form-action 'none'; "
                        "frame-ancestors 'none'");
}

static void put_page(struct buffer *page, const struct files_body *body, const char *nonce)
{
    const char *at = (const char *)body->data, *end = at + body->len, *mark;
    for (; (mark = memmem(at, (size_t)(end - at), nonce_mark, sizeof(nonce_mark) - 1)) != NULL;
         at = mark + sizeof(nonce_mark) - 1) {
        buffer_put(page, at, (size_t)(mark - at));
        buffer_puts(page, nonce);
    }
    buffer_put(page, at, (size_t)(end - at));
}

static void answer_index(const struct console *console, struct http_request *request)
{
    static const char features[] =
        "serial=(self), accelerometer=(), autoplay=(), camera=(), display-capture=(), "
        "encrypted-media=(), geolocation=(), gyroscope=(), hid=(), idle-detection=(), local-fonts=(), "
        "magnetometer=(), microphone=(), midi=(), payment=(), picture-in-picture=(), "
        "publickey-credentials-get=(), screen-wake-lock=(), usb=(), window-management=(), "
        "xr-spatial-tracking=()";
    struct buffer policy = {0}, page = {0};
    unsigned char random[NONCE];
    char nonce[NONCE_TEXT];
    randombytes_buf(random, sizeof(random));
    sodium_bin2base64(nonce, sizeof(nonce), random, sizeof(random), sodium_base64_VARIANT_ORIGINAL);
    put_policy(&policy, nonce, http_authority(request));
    put_page(&page, &console->index->bodies[ENCODING_IDENTITY], nonce);
    const struct http_header headers[] = {{"content-type", console->index->type,
                                           strlen(console->index->type)},
                                          {"cache-control", H2O_STRLIT("no-store")},
                                          {"content-security-policy", policy.data, policy.len},
                                          {"permissions-policy", features, sizeof(features) - 1},
                                          {"cross-origin-opener-policy", H2O_STRLIT("same-origin")},
                                          {"cross-origin-resource-policy", H2O_STRLIT("same-origin")}};
    http_answer(request, 200, headers, sizeof(headers) / sizeof(headers[0]), page.data, page.len);
    buffer_free(&policy);
    buffer_free(&page);
}

static void release_nothing(void *owner)
{
}

static void answer_file(const struct files_entry *file, struct http_request *request)
{
    /* What a script may do as a worker, which has the policy of its own answer. */
    static const char worker[] =
        "default-src 'none'; script-src 'self'; connect-src 'self'; frame-ancestors 'none'";
    bool there[ENCODINGS];
    struct http_header headers[6] = {{"content-type", file->type, strlen(file->type)},
                                     {"cross-origin-resource-policy", H2O_STRLIT("same-origin")},
                                     {"cache-control", H2O_STRLIT("no-cache")}};
    size_t count = 3;
    if (file->hashed)
        headers[2] = (struct http_header){"cache-control", H2O_STRLIT("public, max-age=31536000, immutable")};
    if (strncmp(file->type, "text/javascript", 15) == 0)
        headers[count++] = (struct http_header){"content-security-policy", worker, sizeof(worker) - 1};
    for (int i = 0; i < ENCODINGS; i++)
        there[i] = file->bodies[i].data != NULL;
    if (there[ENCODING_GZIP] || there[ENCODING_BR])
        headers[count++] = (struct http_header){"vary", H2O_STRLIT("accept-encoding")};
    enum encoding encoding = encoding_choose(http_header(request, "accept-encoding"), there);
    if (encoding != ENCODING_IDENTITY) {
        const char *name = encoding_name(encoding);
        headers[count++] = (struct http_header){"content-encoding", name, strlen(name)};
    }
    const struct files_body *body = &file->bodies[encoding];
    struct http_validators validators = {body->etag, 0};
    struct http_blob blob = {body->data, body->len, release_nothing, NULL};
    http_answer_blob(request, headers, count, &validators, &blob);
}

bool console_answer(const struct console *console, struct http_request *request)
{
    static const struct http_header allow = {"allow", H2O_STRLIT("GET, HEAD")};
    const struct files_entry *file;
    h2o_iovec_t method = http_method(request);
    if (console == NULL || !find(console, http_path(request), &file))
        return false;
    http_set_route(request, "console");
    if (file == NULL)
        http_problem(request, 404, NULL, "", NULL, 0);
    else if (!is(method, "GET") && !is(method, "HEAD"))
        http_problem(request, 405, NULL, "", &allow, 1);
    else if (file == console->index)
        answer_index(console, request);
    else
        answer_file(file, request);
    return true;
}
